package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/fault"
	"tandem/core/tensor"
	"tandem/core/wire/pb"
)

// deadlineSlack is how far two clocks of one machine may differ in telling that a deadline is over.
const deadlineSlack = 100 * time.Millisecond

// settleWait is how long a cancelled call waits for the plugin to let go of its memory before it
// returns all the same and leaves the waiting to the background.
const settleWait = 500 * time.Millisecond

// Call is one call of a plugin, for those who count time.
type Call struct {
	Plugin string        // encoders/vit
	Method string        // Forward
	Start  time.Time     // when the caller began to wait
	Client time.Duration // as the caller waited
	// Inside is when the plugin's method proper began, on the caller's clock; zero where the plugin or
	// the system does not say. Server is how long it took; 0 when the call failed.
	Inside time.Time
	Server time.Duration
	Work   float64 // floating-point operations of the method; 0: none, or not counted
	Failed bool
}

// Conn is the runner's connection to one plugin.
type Conn struct {
	rpc     grpc.ClientConnInterface
	plugin  pb.PluginClient
	name    string
	arena   *Arena
	observe func(Call)
	lost    func() error
}

// ConnConfig is what a Conn needs besides the connection.
type ConnConfig struct {
	Plugin string // its name in errors and Calls: encoders/vit
	Arena  *Arena // nil: tensors travel in messages
	// Observe, when not nil, is told of every call, from the goroutine that made it.
	Observe func(Call)
	// Lost, when not nil, explains a connection that broke: it waits for the process to end and
	// gives a fault.PluginDied.
	Lost func() error
}

// NewConn is a connection to a plugin over cc.
func NewConn(cc grpc.ClientConnInterface, cfg ConnConfig) *Conn {
	return &Conn{rpc: cc, plugin: pb.NewPluginClient(cc), name: cfg.Plugin, arena: cfg.Arena,
		observe: cfg.Observe, lost: cfg.Lost}
}

// pin keeps the pages of shared memory when the plugin gives them to hardware.
func (c *Conn) pin(pins bool) {
	if pins && c.arena != nil {
		c.arena.Pin()
	}
}

// Descriptor asks the plugin for its descriptor, as JSON.
func (c *Conn) Descriptor(ctx context.Context) ([]byte, error) {
	d, err := c.plugin.Describe(ctx, &pb.Empty{})
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return d.Json, nil
}

// answer is what every response has.
type answer interface {
	GetKernelNanos() int64
	GetStartNanos() int64
}

// call makes one RPC with the memory that use holds, gives the memory back once the plugin cannot
// touch it any more, and explains errors.
func call[Q any, R answer](ctx context.Context, use *lease, method string,
	rpc func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (R, error) {
	c := use.conn
	start := time.Now()
	response, err := rpc(ctx, request)
	elapsed := time.Since(start)
	if err != nil && !hasDetails(err) && ctx.Err() != nil {
		c.settle(use)
	} else {
		use.release()
	}
	if c.observe != nil {
		o := Call{Plugin: c.name, Method: method, Start: start, Client: elapsed, Failed: err != nil}
		if err == nil {
			o.Server, o.Inside = time.Duration(response.GetKernelNanos()), fromClock(response.GetStartNanos())
			if w, ok := any(response).(interface{ GetWork() float64 }); ok {
				o.Work = w.GetWork()
			}
		}
		c.observe(o)
	}
	if err != nil {
		return response, c.explain(ctx, err)
	}
	return response, nil
}

// explain turns a gRPC error into a fault that names the plugin.
func (c *Conn) explain(ctx context.Context, err error) error {
	ours := !hasDetails(err) || status.Code(err) == codes.Canceled
	// The plugin knows the deadline too, and its end of the call can come before our own timer.
	if deadline, ok := ctx.Deadline(); ok && ours && time.Until(deadline) < deadlineSlack {
		<-ctx.Done()
	}
	if cause := ctx.Err(); cause != nil && ours {
		return fault.New(fault.Canceled, "interrupted: %w", cause).WithPlugin(c.name)
	}
	if !hasDetails(err) && c.lost != nil {
		if code := status.Code(err); code == codes.Unavailable || code == codes.Canceled {
			return c.lost()
		}
	}
	err = FromStatus(err)
	list, ok := err.(fault.List)
	if !ok {
		if e, ok := err.(*fault.Error); ok {
			list = fault.List{e}
		}
	}
	for _, e := range list {
		if e.Plugin == "" {
			e.Plugin = c.name
		}
	}
	return err
}

// settle gives a cancelled call's memory back when the plugin says that the call has ended. A plugin
// that never says so keeps the memory until the run ends.
func (c *Conn) settle(use *lease) {
	held := &lease{slots: use.slots} // the caller must not release them
	use.slots = nil
	if len(held.slots) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if _, err := c.plugin.Settle(ctx, &pb.Empty{}); err == nil || status.Code(err) == codes.Unavailable {
			held.release()
		}
	}()
	timeout := time.NewTimer(settleWait)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}

// lease is the shared memory that one call uses.
type lease struct {
	conn  *Conn
	slots []*slot
}

func (c *Conn) lease() *lease { return &lease{conn: c} }

func (l *lease) release() {
	for _, s := range l.slots {
		s.release()
	}
	l.slots = nil
}

// in is a tensor of a request: by reference when it is in the arena already, else copied there; nil
// for nil.
func (l *lease) in(t *tensor.Tensor) (*pb.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	arena := l.conn.arena
	if arena == nil {
		return inline(t), nil
	}
	if s, ok := t.Shared.(*slot); ok && s.arena == arena {
		s.retain()
		l.slots = append(l.slots, s)
		return reference(t, s), nil
	}
	shared, err := arena.Alloc(t.DType, t.Shape...)
	if err != nil {
		return nil, err
	}
	copy(shared.Data, t.Data)
	s := shared.Shared.(*slot)
	l.slots = append(l.slots, s) // the lease takes over the tensor's hold
	return reference(shared, s), nil
}

// out is a slot for a result and the tensor that the caller will get; both nil without an arena.
func (l *lease) out(dtype tensor.DType, shape ...int) (*pb.Tensor, *tensor.Tensor, error) {
	if l.conn.arena == nil {
		return nil, nil, nil
	}
	t, err := l.conn.arena.Alloc(dtype, shape...)
	if err != nil {
		return nil, nil, err
	}
	s := t.Shared.(*slot)
	s.retain()
	l.slots = append(l.slots, s)
	return reference(t, s), t, nil
}

// result is the tensor that a response brought: out, when that was asked for.
func (c *Conn) result(what string, m, asked *pb.Tensor, out *tensor.Tensor) (*tensor.Tensor, error) {
	if m == nil {
		return nil, fault.New(fault.Internal, "the answer lacks the %s", what).WithPlugin(c.name)
	}
	if asked == nil {
		t, err := fromInline(m)
		if err != nil {
			return nil, fault.New(fault.Internal, "%s: %w", what, err).WithPlugin(c.name)
		}
		return t, nil
	}
	if m.Arena != asked.Arena || m.Offset != asked.Offset || m.Dtype != asked.Dtype || !equal(m.Shape, asked.Shape) {
		return nil, fault.New(fault.Internal, "the %s is %v %v at %d, want %v %v at %d", what,
			m.Dtype, m.Shape, m.Offset, asked.Dtype, asked.Shape, asked.Offset).WithPlugin(c.name)
	}
	return out, nil
}

func equal(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
