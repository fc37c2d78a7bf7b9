package wire

import (
	"context"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// EncoderClient returns the encoder at the other end of a connection. Its tensors are in the arena when the
// connection has one.
func EncoderClient(c *Conn) clip.Encoder {
	rpc := pb.NewEncoderClient(c.rpc)
	return &encoderClient{trainableClient: trainableClient{conn: c, rpc: rpc}, rpc: rpc}
}

type encoderClient struct {
	trainableClient
	rpc     pb.EncoderClient
	dim     int
	trained bool // it has parameters that are trained
	close   sync.Once
}

func (e *encoderClient) Configure(ctx context.Context, cfg clip.EncoderConfig) (clip.EncoderInfo, error) {
	r, err := call(ctx, e.conn.lease(), "Configure", e.rpc.Configure, encoderConfigOut(cfg))
	if err != nil {
		return clip.EncoderInfo{}, err
	}
	if err := e.conn.checkEncoderInfo(r, cfg.EmbedDim); err != nil {
		return clip.EncoderInfo{}, err
	}
	info := encoderInfoIn(r)
	e.conn.pin(info.Pins)
	e.mu.Lock()
	e.dim, e.parameters, e.trained = info.EmbedDim, info.Parameters, info.Parameters > info.Frozen
	e.mu.Unlock()
	return info, nil
}

func (e *encoderClient) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	e.mu.Lock()
	dim, trained := e.dim, e.trained
	e.mu.Unlock()
	batch := len(q.Texts)
	if q.Images != nil && len(q.Images.Shape) > 0 {
		batch = q.Images.Shape[0]
	}
	use := e.conn.lease()
	request := &pb.ForwardRequest{Texts: validAll(q.Texts), Mode: pb.Mode(q.Mode), Step: int64(q.Step), Micro: int64(q.Micro),
		Id: q.ID}
	if s, ok := sharedIn(e.conn.arena, q.Next); ok {
		request.Next, request.NextId = slotReference(q.Next, s), q.NextID
	}
	var err error
	if request.Images, err = use.in(q.Images); err != nil {
		return nil, 0, err
	}
	var out *tensor.Tensor
	if request.Out, out, err = use.out(tensor.F32, batch, dim); err != nil {
		use.release()
		return nil, 0, err
	}
	r, err := call(ctx, use, "Forward", e.rpc.Forward, request)
	if err == nil {
		var t *tensor.Tensor
		if t, err = e.conn.result("Forward", "embedding", r.Embedding, request.Out, out, tensor.F32, batch, dim); err == nil {
			k := e.conn.checker("Forward")
			k.require(q.Mode != clip.Train || !trained || r.Ticket != 0, "there is no ticket, though something is to be trained")
			k.values("embedding", t)
			if err = k.err; err == nil {
				return t, clip.Ticket(r.Ticket), nil
			}
			if t != out {
				t.Free()
			}
		}
	}
	out.Free()
	return nil, 0, err
}

func (e *encoderClient) Backward(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) error {
	_, err := e.backward(ctx, ticket, grad, false)
	return err
}

// BackwardNorm implements clip.BackwardNormer.
func (e *encoderClient) BackwardNorm(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor) (float64, error) {
	r, err := e.backward(ctx, ticket, grad, true)
	if err != nil {
		return 0, err
	}
	return e.norm(ctx, "Backward", r.SumOfSquares)
}

func (e *encoderClient) backward(ctx context.Context, ticket clip.Ticket, grad *tensor.Tensor, norm bool) (*pb.Done, error) {
	if grad == nil {
		return nil, fault.New(fault.Invalid, "backward without a gradient").WithPlugin(e.conn.name)
	}
	use := e.conn.lease()
	g, err := use.in(grad)
	if err != nil {
		return nil, err
	}
	return call(ctx, use, "Backward", e.rpc.Backward, &pb.BackwardRequest{Ticket: uint64(ticket), Grad: g, GradNorm: norm})
}

func (e *encoderClient) Discard(ctx context.Context, ticket clip.Ticket) error {
	_, err := call(ctx, e.conn.lease(), "Discard", e.rpc.Discard, &pb.DiscardRequest{Ticket: uint64(ticket)})
	return err
}

func (e *encoderClient) Close() error { return closeOnce(&e.close, e.conn, e.rpc.Close) }

func sharedIn(a *Arena, t *tensor.Tensor) (*slot, bool) {
	if a == nil || t == nil {
		return nil, false
	}
	s, ok := t.Shared.(*slot)
	return s, ok && s.arena == a
}
