package wire

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/wire/pb"
)

// Server offers one plugin's implementation to a runner. It keeps the lifecycle of core/clip (so that
// implementations need not), turns panics into fault.Internal, and runs the methods of encoders and
// losses on one OS thread, because OpenMP keeps a pool of threads for each thread that calls it.
type Server struct {
	pb.UnimplementedPluginServer
	descriptor clip.Descriptor
	window     *Window
	thread     chan func()
	calls      calls
	impl       any           // the clip.Encoder, Loss or Dataset
	base       programMemory // before Configure

	state sync.RWMutex // held for reading by calls, for writing by Configure and Close
	ready bool
	ended bool
}

// NewServer returns a server for the plugin that d describes. w is nil when the plugin was given no arena.
func NewServer(d clip.Descriptor, w *Window) *Server {
	s := &Server{descriptor: d, window: w, thread: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.thread {
			f()
		}
	}()
	return s
}

// Encoder registers e's services.
func (s *Server) Encoder(r grpc.ServiceRegistrar, e clip.Encoder) {
	pb.RegisterPluginServer(r, s)
	s.impl = e
	pb.RegisterEncoderServer(r, &encoderServer{trainableServer: trainableServer{s: s, impl: e}, impl: e})
}

// Loss registers l's services.
func (s *Server) Loss(r grpc.ServiceRegistrar, l clip.Loss) {
	pb.RegisterPluginServer(r, s)
	s.impl = l
	pb.RegisterLossServer(r, &lossServer{trainableServer: trainableServer{s: s, impl: l}, impl: l})
}

// Dataset registers d's services.
func (s *Server) Dataset(r grpc.ServiceRegistrar, d clip.Dataset) {
	pb.RegisterPluginServer(r, s)
	s.impl = d
	pb.RegisterDatasetServer(r, &datasetServer{s: s, impl: d})
}

// Describe implements the service Plugin.
func (s *Server) Describe(context.Context, *pb.Empty) (*pb.Descriptor, error) {
	text, err := json.Marshal(s.descriptor)
	if err != nil {
		return nil, ToStatus(fault.New(fault.Internal, "descriptor: %w", err))
	}
	return &pb.Descriptor{Json: text}, nil
}

// Settle implements the service Plugin.
func (s *Server) Settle(ctx context.Context, _ *pb.Empty) (*pb.Empty, error) {
	for _, done := range s.calls.listOpen() {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ToStatus(ctx.Err())
		}
	}
	return &pb.Empty{}, nil
}

// calls holds the calls under way.
type calls struct {
	mu   sync.Mutex
	open map[chan struct{}]struct{}
}

func (c *calls) begin() (end func()) {
	done := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[chan struct{}]struct{}{}
	}
	c.open[done] = struct{}{}
	return func() {
		c.mu.Lock()
		delete(c.open, done)
		c.mu.Unlock()
		close(done)
	}
}

func (c *calls) listOpen() []chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]chan struct{}, 0, len(c.open))
	for done := range c.open {
		list = append(list, done)
	}
	return list
}

// phase says what a call needs of the lifecycle.
type phase int

const (
	planning    phase = iota // not configured yet, nor afterwards
	configuring              // not configured yet
	using                    // configured, not closed
	closing
)

// place says where a call runs.
type place int

const (
	onThread place = iota // the one compute thread
	anywhere              // the goroutine that brought the request
)

// handle runs a method of the implementation. An error of f comes back as a gRPC status.
func handle[R any](ctx context.Context, s *Server, ph phase, where place, f func() (R, error)) (r R, err error) {
	defer s.calls.begin()()
	work := func() {
		// Registered above, checked here: a call that Settle did not see, because it was cancelled
		// before it began, ends without touching memory.
		if err = ctx.Err(); err != nil {
			return
		}
		defer func() {
			if p := recover(); p != nil {
				err = fault.New(fault.Internal, "panic: %v", p).WithDetail(string(debug.Stack())).
					WithHint("this is a bug in the plugin")
			}
		}()
		unlock, lifecycle := s.enter(ph)
		defer unlock()
		if err = lifecycle; err == nil {
			if ph == configuring {
				s.base = programNow()
			}
			r, err = f()
		}
		if err == nil && ph == configuring {
			s.ready = true
		}
	}
	if where == anywhere {
		work()
	} else {
		done := make(chan struct{})
		s.thread <- func() { defer close(done); work() }
		<-done
	}
	return r, ToStatus(err)
}

func (s *Server) enter(ph phase) (unlock func(), err error) {
	if ph == using {
		s.state.RLock()
		unlock = s.state.RUnlock
	} else {
		s.state.Lock()
		unlock = s.state.Unlock
	}
	switch {
	case s.ended:
		err = fault.New(fault.Conflict, "the %s is closed", s.descriptor.Kind)
	case (ph == configuring || ph == planning) && s.ready:
		err = fault.New(fault.Conflict, "the %s is configured already", s.descriptor.Kind)
	case ph == using && !s.ready:
		err = fault.New(fault.Conflict, "the %s is not configured yet", s.descriptor.Kind)
	}
	return unlock, err
}

// close ends the implementation; every call but the first does nothing.
func (s *Server) close(ctx context.Context, impl func() error) (*pb.Done, error) {
	s.state.RLock()
	ended := s.ended
	s.state.RUnlock()
	if ended {
		return &pb.Done{}, nil
	}
	return handle(ctx, s, closing, onThread, func() (*pb.Done, error) {
		s.ended = true
		return done(nil, impl)
	})
}

// done measures a method of impl that returns only an error.
func done(impl any, method func() error) (*pb.Done, error) {
	span := begin(impl)
	err := method()
	out := &pb.Done{}
	out.StartNanos, out.KernelNanos, out.Work = span.end()
	return out, err
}

// span measures a method of an implementation while it runs.
type span struct {
	start  time.Time
	meter  clip.Meter // nil: the implementation does not count its work
	before float64
}

func begin(impl any) span {
	s := span{start: time.Now()}
	if m, ok := impl.(clip.Meter); ok {
		s.meter, s.before = m, m.Work()
	}
	return s
}

// end returns when the span began, how long it took and what work was done.
func (s span) end() (start, took int64, work float64) {
	took = time.Since(s.start).Nanoseconds()
	if s.meter != nil {
		work = s.meter.Work() - s.before
	}
	return toClock(s.start), took, work
}

func missingFault(what string) error {
	return fault.New(fault.Invalid, "the request lacks %s", what)
}

// trainableServer serves the methods that encoders and losses share.
type trainableServer struct {
	s     *Server
	impl  clip.Trainable
	taken uint64 // the number of the last step that has one
}

func (t *trainableServer) GradNorm(ctx context.Context, _ *pb.Empty) (*pb.GradNormResponse, error) {
	return handle(ctx, t.s, using, onThread, func() (*pb.GradNormResponse, error) {
		span := begin(nil)
		sum, err := t.impl.GradNorm(ctx)
		out := &pb.GradNormResponse{SumOfSquares: sum}
		out.StartNanos, out.KernelNanos, _ = span.end()
		return out, err
	})
}

// norm calls GradNorm for an answer to another method, when the request asks for it.
func (t *trainableServer) norm(ctx context.Context, wanted bool) (*float64, error) {
	if !wanted {
		return nil, nil
	}
	sum, err := t.impl.GradNorm(ctx)
	return &sum, err
}

func (t *trainableServer) Step(ctx context.Context, q *pb.StepRequest) (*pb.Done, error) {
	return handle(ctx, t.s, using, onThread, func() (*pb.Done, error) {
		return done(nil, func() error { return t.step(ctx, q) })
	})
}

func (t *trainableServer) Save(ctx context.Context, q *pb.FileRequest) (*pb.Done, error) {
	return handle(ctx, t.s, using, onThread, func() (*pb.Done, error) {
		return done(nil, func() error { return t.impl.Save(ctx, q.Path) })
	})
}

func (t *trainableServer) Load(ctx context.Context, q *pb.FileRequest) (*pb.Done, error) {
	return handle(ctx, t.s, using, onThread, func() (*pb.Done, error) {
		return done(nil, func() error { return t.impl.Load(ctx, q.Path) })
	})
}

// windowBytes is how much either side may send before the other has read it. With a size of its own gRPC does not
// measure the connection, for which it would send a ping and wait for its answer beside every message.
const windowBytes = 8 << 20

// ServerOptions returns the gRPC options of a plugin's server, to be added to those of go-plugin.
func ServerOptions(more ...grpc.ServerOption) []grpc.ServerOption {
	return append([]grpc.ServerOption{grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes)}, more...)
}

// DialOptions returns the gRPC options of a runner's connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes)}
}
