// Package process starts, watches and stops plugin processes. It gives the interfaces of core/clip; only errors
// (fault.PluginDied) show that processes stand behind them. core/plugin/catalog finds the plugins, and
// core/plugin/child runs their programs.
//
// A Session serves one run: it has the shared memory and the processes that use it. A plugin ends when its Session
// closes, and when the runner ends in whatever way (a pipe and a signal tell it). When a plugin dies its callers get
// its last words.
package process

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// SessionOptions configures a Session.
type SessionOptions struct {
	Catalog *catalog.Catalog // nil: catalog.New()
	// LogDir names the folder for what each plugin writes to stderr, in a journal plugin-<label>.log; "" for none. StartOptions may
	// name another.
	LogDir string
	// Observe, when not nil, is called after every call of every plugin, from the goroutine that made the call.
	Observe func(Call)
	// Tap returns who is told of every call of the plugin with a label, whole; nil, as Tap may be: nobody.
	Tap func(label string) func(wire.Heard)
	// NoSharedMemory sends tensors through the plugins' sockets.
	NoSharedMemory bool
	Limits         Limits // of calls; the zero value: DefaultLimits()
}

// Call describes one call of a plugin of a session.
type Call struct {
	Label string // StartOptions.Label of the process
	wire.Call
}

// StartOptions configures one plugin of a session.
type StartOptions struct {
	// Label tells two processes of one plugin apart in log names: "image", "eval-0".
	Label string
	// Threads limits the threads that it computes with at a time; 0 for no limit.
	Threads int
	LogDir  string // "": the session's
	Python  string // the interpreter of plugins in Python; "": the catalog's
	// SHA256, when not "", is the digest that the plugin must have: that of an earlier Describe.
	SHA256 string
	Env    []string // more of its environment, as KEY=value
	Guard  Guard
	// With has the settings that it will be configured with: a strictly guarded plugin may read what their paths name,
	// and the folders of files among them. Read and Write name more that it may read and change: files and folders.
	With        []byte
	Read, Write []string
	// Colocated, when not nil and of a process that is to serve Label, is where the plugin is served: the plugin then has no
	// program of its own.
	Colocated *Colocated
	// Files is a folder on the disk where it saves, for files on their way; "" when it saves none.
	Files string
}

// Session runs the plugins of one run and owns the memory that they share with the runner. It may be used from
// several goroutines.
type Session struct {
	options SessionOptions
	catalog *catalog.Catalog
	arena   *wire.Arena // nil: none
	dir     string      // of sockets; nobody else may enter it
	held    *os.File    // the folder, held so that other runners know that it is in use
	watch   *watch
	leave   func() // ends what orphans the plugins left

	attachments map[string]attachment // by name of the plugin or role

	mu        sync.Mutex
	closed    bool
	processes []*Process
}

// NewSession makes a session without plugins. The caller closes it.
func NewSession(o SessionOptions) (*Session, error) {
	s := &Session{options: o, catalog: o.Catalog}
	if s.catalog == nil {
		s.catalog = catalog.New()
	}
	var err error
	if s.attachments, err = reattachments(); err != nil {
		return nil, err
	}
	sweepOnce.Do(func() { sweepSockets(socketRoot()) })
	if s.dir, s.held, err = makeSocketDir(socketRoot()); err != nil {
		return nil, fault.New(fault.Unavailable, "a folder for sockets: %w", err)
	}
	if !o.NoSharedMemory {
		s.arena, err = wire.NewArena()
		if err != nil && fault.KindOf(err) != fault.Unavailable {
			os.Remove(s.dir)
			s.held.Close()
			return nil, err
		}
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	s.watch = newWatch(o.Limits, s.arena)
	s.leave = child.Enter()
	return s, nil
}

// sweepOnce lets the first session of a process remove what killed runners left.
var sweepOnce sync.Once

// SetLimits sets how long calls may take from now on.
func (s *Session) SetLimits(l Limits) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.limits = l
}

// socketRoot returns the folder for temporary files, or /tmp when a socket's path there would be longer than
// the 107 bytes that the system allows.
func socketRoot() string {
	const below = len("/tandem-0123456789/plugin-dir0123456789/plugin0123456789")
	if dir := os.TempDir(); len(dir)+below < 107 {
		return dir
	}
	return "/tmp"
}

// Arena returns the session's shared memory; nil when it has none.
func (s *Session) Arena() *wire.Arena { return s.arena }

// tap returns who is told of the calls of the plugin with a label.
func (s *Session) tap(label string) func(wire.Heard) {
	if s.options.Tap == nil {
		return nil
	}
	return s.options.Tap(label)
}

// Processes returns the plugins started so far, ended ones included.
func (s *Session) Processes() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Process(nil), s.processes...)
}

// StartEncoder starts the encoder that ref names (see catalog.Catalog.Find). The process belongs to the
// session; closing the encoder only ends its use. Besides the errors of Catalog.Describe it returns
// fault.PluginDied when the process does not come up, and fault.Canceled.
func (s *Session) StartEncoder(ctx context.Context, ref string, o StartOptions) (clip.Encoder, *Process, error) {
	return start(ctx, s, clip.KindEncoder, ref, o, wire.EncoderClient)
}

// StartLoss does for a loss what StartEncoder does for an encoder.
func (s *Session) StartLoss(ctx context.Context, ref string, o StartOptions) (clip.Loss, *Process, error) {
	return start(ctx, s, clip.KindLoss, ref, o, wire.LossClient)
}

// StartDataset does for a dataset what StartEncoder does for an encoder.
func (s *Session) StartDataset(ctx context.Context, ref string, o StartOptions) (clip.Dataset, *Process, error) {
	return start(ctx, s, clip.KindDataset, ref, o, wire.DatasetClient)
}

func start[T interface{ Close() error }](ctx context.Context, s *Session, kind clip.Kind, ref string, o StartOptions,
	client func(*wire.Conn) T) (T, *Process, error) {
	var none T
	catalog := *s.catalog
	catalog.Python = cmp.Or(o.Python, catalog.Python)
	d, b, err := catalog.Describe(kind, ref)
	if err != nil {
		return none, nil, err
	}
	var p *Process
	if at, ok := s.reattach(b, o.Label); ok {
		p, err = s.attach(ctx, d, b, o, at)
	} else if o.Colocated.holds(o.Label) {
		p, err = s.join(ctx, d, b, o)
	} else {
		p, err = s.launch(ctx, d, b, o)
	}
	if err != nil {
		return none, nil, err
	}
	impl := client(p.conn)
	p.closer = impl.Close
	s.mu.Lock()
	closed := s.closed
	s.processes = append(s.processes, p)
	s.mu.Unlock()
	if closed {
		p.Stop()
		return none, nil, fault.New(fault.Conflict, "the session is closed").WithPlugin(p.Name())
	}
	return impl, p, nil
}

// Close stops all plugins at the same time and gives the memory back. Tensors that the caller still holds stay
// readable. It may be called more than once.
func (s *Session) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	processes := s.processes
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range processes {
		wg.Go(p.Stop)
	}
	wg.Wait()
	var err error
	if s.arena != nil {
		err = s.arena.Close()
	}
	err = errors.Join(err, os.RemoveAll(s.dir))
	if !again {
		s.watch.close()
		s.held.Close()
		s.leave()
	}
	return err
}
