package wire

import (
	"cmp"
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
	"tandem/core/tensor"
)

// deadlineSlack allows two clocks of one machine to differ in telling that a deadline is over.
const deadlineSlack = 100 * time.Millisecond

// Call describes one call of a plugin, for those who measure time.
type Call struct {
	Plugin string        // encoders/vit
	Method string        // Forward
	Start  time.Time     // when the caller began to wait
	Client time.Duration // as the caller waited
	// Inside is the time at which the plugin's method itself began, on the caller's clock; zero where the plugin
	// or the system does not tell. Server is the time that it took; 0 when the call failed.
	Inside time.Time
	Server time.Duration
	Work   float64 // floating-point operations of the method; 0: none, or not counted
	Failed bool
}

// Conn connects the runner to one plugin.
type Conn struct {
	rpc     grpc.ClientConnInterface
	plugin  pb.PluginClient
	name    string
	version int // of the protocol that the plugin speaks
	arena   *Arena
	observe func(Call)
	lost    func() error
	watch   Watch
	words   func() string
	shorten func(string) string
	taped   bool // every call is told to a tap
	later   later
}

// Watch is called when a call begins. The call runs with the context that Watch returns, which Watch may
// cancel. over is called when the call has ended, with its error; it returns another error to report instead,
// or nil to keep that one.
type Watch func(ctx context.Context, method string, request any) (watched context.Context, over func(error) error)

// ConnConfig configures a Conn.
type ConnConfig struct {
	Plugin string // its name in errors and Calls: encoders/vit
	// Protocol gives the version that the plugin speaks; 0: the newest. What a version lacks is never sent to it.
	Protocol int
	Arena    *Arena // nil: tensors travel in messages
	// Observe, when not nil, is called after every call, from the goroutine that made it.
	Observe func(Call)
	// Lost, when not nil, explains a connection that broke: it waits for the process to end and
	// returns a fault.PluginDied.
	Lost  func() error
	Watch Watch // nil: calls are not watched
	// Words, when not nil, returns what the plugin wrote last and where the rest is, for the detail of errors; ""
	// when it wrote nothing.
	Words func() string
	// Shorten, when not nil, shortens the stacks and tracebacks in the detail of an error that the plugin returned.
	Shorten func(detail string) string
	// Tap, when not nil, is told of every call after it, from the goroutine that made it. Its messages are copies.
	Tap func(Heard)
}

// NewConn returns a connection to a plugin over cc.
func NewConn(cc grpc.ClientConnInterface, cfg ConnConfig) *Conn {
	if cfg.Tap != nil {
		cc = tapped{cc, cfg.Arena, cfg.Tap}
	}
	return &Conn{rpc: cc, plugin: pb.NewPluginClient(cc), name: cfg.Plugin, arena: cfg.Arena,
		version: cmp.Or(cfg.Protocol, clip.ProtocolVersion),
		observe: cfg.Observe, lost: cfg.Lost, watch: cfg.Watch, words: cfg.Words, shorten: cfg.Shorten, taped: cfg.Tap != nil}
}

// lacks returns the fault of a request for something that the plugin has not announced.
func (c *Conn) lacks(what string) error {
	return fault.New(fault.Invalid, "the plugin has no %s", what).WithPlugin(c.name)
}

// needVersion2 returns a fault when the plugin speaks version 1, which has no such thing as what.
func (c *Conn) needVersion2(what string) error {
	if c.version >= 2 {
		return nil
	}
	return fault.New(fault.Invalid, "the plugin speaks protocol %d, which has no %s", c.version, what).WithPlugin(c.name).
		WithHint("build the plugin with the SDK of protocol 2")
}

// begin tells the watch that a call begins.
func (c *Conn) begin(ctx context.Context, method string, request any) (context.Context, func(error) error) {
	if c.watch == nil {
		return ctx, func(error) error { return nil }
	}
	return c.watch(ctx, method, request)
}

// blame adds what the plugin wrote last to an error.
func (c *Conn) blame(e *fault.Error) *fault.Error {
	if c.words == nil {
		return e
	}
	if said := c.words(); said != "" && !strings.Contains(e.Detail, said) {
		e.Detail = strings.TrimPrefix(strings.TrimRight(e.Detail, "\n")+"\n"+said, "\n")
	}
	return e
}

// maxAnswerBytes limits the size of an answer by method, when tensors do not travel in it; other methods'
// answers may have a few MiB. A larger answer is refused before it is read.
var maxAnswerBytes = map[string]int{"Configure": 256 << 20, "Batch": 256 << 20, "Compute": 256 << 20, "Captions": MaxMessageBytes, "CountTokens": 1 << 30, "Profile": 1 << 30}

func (c *Conn) limit(method string) grpc.CallOption {
	switch n, ok := maxAnswerBytes[method]; {
	case c.arena == nil && (method == "Forward" || method == "Batch" || method == "Compute" || method == "Gradients"):
		return grpc.MaxCallRecvMsgSize(MaxMessageBytes)
	case ok:
		return grpc.MaxCallRecvMsgSize(n)
	}
	return grpc.MaxCallRecvMsgSize(8 << 20)
}

// ask makes a call that uses no shared memory and does not count in the times.
func ask[Q, R any](ctx context.Context, c *Conn, method string, rpc func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (response R, err error) {
	if err := c.stepFirst(ctx, method, request); err != nil {
		return response, err
	}
	watched, over := c.begin(ctx, method, request)
	response, err = rpc(watched, request, c.limit(method))
	if err == nil {
		return response, over(nil)
	}
	if status.Code(err) == codes.Unimplemented {
		over(nil)
		return response, err // the caller's to judge
	}
	if other := over(err); other != nil {
		return response, other
	}
	return response, c.explain(ctx, err)
}

// pin keeps the pages of shared memory when the plugin gives them to hardware.
func (c *Conn) pin(pins bool) {
	if pins && c.arena != nil {
		c.arena.Pin()
	}
}

// Descriptor asks the plugin for its descriptor, as JSON.
func (c *Conn) Descriptor(ctx context.Context) ([]byte, error) {
	d, err := ask(ctx, c, "Describe", c.plugin.Describe, &pb.Empty{})
	if err != nil {
		return nil, err
	}
	return d.Json, nil
}

// timedAnswer has the methods that every response has.
type timedAnswer interface {
	GetKernelNanos() int64
	GetStartNanos() int64
}

// call makes one call with the memory that use holds. It gives the memory back once the plugin cannot touch it
// any more, and turns errors into faults.
func call[Q any, R timedAnswer](ctx context.Context, use *lease, method string,
	rpc func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (response R, err error) {
	c := use.conn
	if err := c.stepFirst(ctx, method, request); err != nil {
		use.release()
		return response, err
	}
	if c.arena != nil {
		c.arena.addCalls(c.name, 1)
		defer c.arena.addCalls(c.name, -1)
	}
	start := time.Now()
	watched, over := c.begin(ctx, method, request)
	response, err = rpc(watched, request, c.limit(method))
	elapsed, canceled := time.Since(start), watched.Err() != nil
	other := over(err)
	// Before the memory is let go, and after an error too: a plugin may complain of what another has done to it.
	var damage error
	if !canceled {
		damage = use.checkGuards(method)
	}
	if err != nil && !hasDetails(err) && canceled {
		c.settle(use)
	} else {
		use.release()
	}
	if err == nil {
		c.stepTaken(request)
	}
	if c.observe != nil {
		o := Call{Plugin: c.name, Method: method, Start: start, Client: elapsed, Failed: err != nil}
		if err == nil {
			o.Server, o.Inside = methodTime(start, elapsed, response)
			if w, ok := any(response).(interface{ GetWork() float64 }); ok {
				o.Work = w.GetWork()
			}
			if step, rest, ok := c.splitStep(o, response); ok {
				c.observe(step)
				o = rest
			}
		}
		c.observe(o)
	}
	switch {
	case other != nil:
		return response, other
	case damage != nil:
		return response, damage
	case err != nil:
		return response, c.explain(ctx, err)
	}
	k := c.checker(method)
	if w, ok := any(response).(interface{ GetWork() float64 }); ok {
		k.number("work", w.GetWork())
	}
	return response, k.err
}

// methodTime returns how long the plugin's method took and when it began. Values that do not fit the time that
// the caller waited become zero.
func methodTime(start time.Time, waited time.Duration, response timedAnswer) (took time.Duration, began time.Time) {
	if took = time.Duration(response.GetKernelNanos()); took < 0 || took > waited {
		took = 0
	}
	if began = fromClock(response.GetStartNanos()); began.Before(start.Add(-deadlineSlack)) || began.After(start.Add(waited+deadlineSlack)) {
		began = time.Time{}
	}
	return took, began
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
	if status.Code(err) == codes.ResourceExhausted && !hasDetails(err) && strings.Contains(err.Error(), "larger than max") {
		return c.brokenRule("an answer", "%s", status.Convert(err).Message())
	}
	err = FromStatus(err)
	list, ok := err.(fault.List)
	if !ok {
		if e, ok := err.(*fault.Error); ok {
			list = fault.List{e}
		}
	}
	for i, e := range list {
		if e.Plugin == "" {
			e.Plugin = c.name
		}
		if c.shorten != nil {
			e.Detail = c.shorten(e.Detail)
		}
		if i == len(list)-1 {
			c.blame(e)
		}
	}
	return err
}

// lease holds the shared memory that one call uses.
type lease struct {
	conn   *Conn
	slots  []*slot
	inputs []input
}

func (c *Conn) lease() *lease { return &lease{conn: c} }

func (l *lease) release() {
	for _, s := range l.slots {
		s.release()
	}
	l.slots = nil
}

// in returns a tensor of a request as a message: a reference when the tensor is in the arena already, else a
// reference to a copy there. It returns nil for nil.
func (l *lease) in(t *tensor.Tensor) (*pb.Tensor, error) {
	if t == nil {
		return nil, nil
	}
	arena := l.conn.arena
	if arena == nil {
		return inlineTensor(t), nil
	}
	if s, ok := t.Shared.(*slot); ok && s.arena == arena {
		s.retain()
		l.slots = append(l.slots, s)
		l.inputs = append(l.inputs, input{t.Data, checksum(t.Data)})
		return slotReference(t, s), nil
	}
	shared, err := arena.Alloc(t.DType, t.Shape...)
	if err != nil {
		return nil, err
	}
	copy(shared.Data, t.Data)
	s := shared.Shared.(*slot)
	l.slots = append(l.slots, s) // the lease takes over the tensor's hold
	l.inputs = append(l.inputs, input{shared.Data, checksum(shared.Data)})
	return slotReference(shared, s), nil
}

// out allocates a slot for a result. It returns the message that names it and the tensor that the caller will
// get; both are nil without an arena.
func (l *lease) out(dtype tensor.DType, shape ...int) (*pb.Tensor, *tensor.Tensor, error) {
	if l.conn.arena == nil {
		return nil, nil, nil
	}
	t, err := l.conn.arena.Alloc(dtype, shape...)
	if err != nil {
		return nil, nil, err
	}
	return l.outIn(t, t.Shared.(*slot)), t, nil
}

// result returns the tensor that a response brought: out when the request asked for it, else one of dtype and
// shape.
func (c *Conn) result(method, what string, m, asked *pb.Tensor, out *tensor.Tensor, dtype tensor.DType, shape ...int) (*tensor.Tensor, error) {
	if m == nil {
		return nil, c.brokenRule(method, "the answer lacks the %s", what)
	}
	if asked == nil {
		if m.Arena != 0 {
			return nil, c.brokenRule(method, "the %s is in shared memory, of which the request named none", what)
		}
		if m.Dtype != pb.DType(dtype) || !equal(m.Shape, shapeOut(shape)) {
			return nil, c.brokenRule(method, "the %s is %v %v, want %v %v", what, m.Dtype, m.Shape, pb.DType(dtype), shape)
		}
		t, err := fromInline(m)
		if err != nil {
			return nil, c.brokenRule(method, "%s: %v", what, err)
		}
		return t, nil
	}
	if m.Arena != asked.Arena || m.Offset != asked.Offset || m.Generation != asked.Generation || m.Dtype != asked.Dtype || !equal(m.Shape, asked.Shape) {
		return nil, c.brokenRule(method, "the %s is %v %v in slot %d of arena %d, generation %d; want %v %v in slot %d of arena %d, generation %d",
			what, m.Dtype, m.Shape, m.Offset, m.Arena, m.Generation, asked.Dtype, asked.Shape, asked.Offset, asked.Arena, asked.Generation)
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
