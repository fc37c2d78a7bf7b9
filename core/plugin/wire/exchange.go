package wire

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// Exchange implements the method of the service Encoder. The stream is open until the runner ends it.
func (e *encoderServer) Exchange(stream pb.Encoder_ExchangeServer) error {
	impl, ok := e.impl.(clip.Exchanger)
	if !ok {
		return status.Error(codes.Unimplemented, "this encoder exchanges nothing")
	}
	ctx := stream.Context()
	p := &partner{stream: stream, sums: make(chan []float64)}
	if _, err := handle(ctx, e.s, using, onThread, func() (*pb.Empty, error) { return nil, impl.Exchange(ctx, p.sum) }); err != nil {
		return err
	}
	if err := stream.Send(&pb.ExchangeValues{}); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil // the runner has ended it
		}
		select {
		case p.sums <- m.Values:
		case <-ctx.Done():
			return nil
		}
	}
}

// partner is the plugin's end of an exchange.
type partner struct {
	stream pb.Encoder_ExchangeServer
	sums   chan []float64
	broken bool // a sum may come that nobody waits for
}

// sum asks the runner for the sums over all ranks. It is called by the one thread of the implementation.
func (p *partner) sum(ctx context.Context, values []float64) error {
	ended := func() error {
		p.broken = true
		return fault.New(fault.Unavailable, "the runner has ended the exchange with the other ranks").WithOp("exchange")
	}
	if p.broken || p.stream.Send(&pb.ExchangeValues{Values: values}) != nil {
		return ended()
	}
	select {
	case sums := <-p.sums:
		if len(sums) != len(values) {
			return fault.New(fault.Internal, "%d sums of %d values", len(sums), len(values)).WithOp("exchange")
		}
		copy(values, sums)
		return nil
	case <-ctx.Done():
		p.broken = true
		return fault.New(fault.Canceled, "%w", ctx.Err()).WithOp("exchange")
	case <-p.stream.Context().Done():
		return ended()
	}
}

var _ clip.Exchanger = (*encoderClient)(nil)

// maxExchangeBytes limits what a plugin asks to be added up at once.
const maxExchangeBytes = 64 << 20

// Exchange implements clip.Exchanger. It answers the plugin until Close or an error of sum, which the call of the
// encoder that needed the sum then returns.
func (e *encoderClient) Exchange(ctx context.Context, sum func(context.Context, []float64) error) error {
	if err := e.conn.needVersion2("exchange with other ranks"); err != nil {
		return err
	}
	streaming, end := context.WithCancel(context.WithoutCancel(ctx))
	watched, over := e.conn.begin(ctx, "Exchange", nil)
	stop := context.AfterFunc(watched, end)
	stream, err := e.rpc.Exchange(streaming, grpc.MaxCallRecvMsgSize(maxExchangeBytes))
	var first *pb.ExchangeValues
	if err == nil {
		first, err = stream.Recv()
	}
	stop()
	other := over(err)
	switch {
	case other != nil:
		err = other
	case status.Code(err) == codes.Unimplemented:
		err = e.conn.lacks("exchange with other ranks")
	case err != nil:
		err = e.conn.explain(ctx, err)
	case len(first.Values) > 0:
		err = e.conn.brokenRule("Exchange", "its first message has %d values, want none", len(first.Values))
	}
	if err != nil {
		end()
		return err
	}
	x := &exchange{end: end}
	e.mu.Lock()
	e.exchange = x
	e.mu.Unlock()
	go x.serve(e.conn, stream, sum)
	return nil
}

// exchange is the runner's end of an exchange.
type exchange struct {
	end   context.CancelFunc
	mu    sync.Mutex      // held while ranks add up
	under context.Context // of the call under way; nil: none
	cause error           // why it ended
}

// serve answers the plugin until the stream ends.
func (x *exchange) serve(c *Conn, stream pb.Encoder_ExchangeClient, sum func(context.Context, []float64) error) {
	defer x.end()
	for {
		m, err := stream.Recv()
		if err != nil || x.add(c, sum, m.Values) != nil || stream.Send(m) != nil {
			return
		}
	}
}

// add adds values up for the call under way.
func (x *exchange) add(c *Conn, sum func(context.Context, []float64) error, values []float64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.under == nil {
		x.cause = c.brokenRule("Exchange", "it exchanges outside of Forward and Backward")
	} else {
		x.cause = sum(x.under, values)
	}
	return x.cause
}

// during lets the plugin exchange until over is called, which waits for a sum under way to end. over returns the error of the
// exchange in the place of the call's, which is but its consequence.
func (e *encoderClient) during(ctx context.Context) (over func(error) error) {
	e.mu.Lock()
	x := e.exchange
	e.mu.Unlock()
	if x == nil {
		return func(err error) error { return err }
	}
	under, cancel := context.WithCancel(ctx)
	x.mu.Lock()
	x.under = under
	x.mu.Unlock()
	return func(err error) error {
		cancel()
		x.mu.Lock()
		defer x.mu.Unlock()
		x.under = nil
		if fault.KindOf(x.cause) == fault.Canceled && fault.KindOf(err) != fault.Canceled && ctx.Err() == nil {
			return err // the sum was given up because the call had ended
		}
		if err != nil && x.cause != nil {
			return x.cause
		}
		return err
	}
}

// endExchange lets go of the other ranks.
func (e *encoderClient) endExchange() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.exchange != nil {
		e.exchange.end()
	}
}
