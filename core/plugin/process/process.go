package process

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/protobuf/proto"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/journal"
	"tandem/core/plugin/wire"
)

const (
	// politeWait limits how long a plugin may take over Close, and then over ending by itself.
	politeWait = 400 * time.Millisecond
	// lostWait limits how long a broken connection waits for the process to be seen ending.
	lostWait = 2 * time.Second
	// killWait limits how long Stop waits for the end of a killed process.
	killWait = 10 * time.Second
)

// Process controls a running plugin.
type Process struct {
	Descriptor clip.Descriptor
	Binary     catalog.Binary

	label    string
	child    *child.Runner
	client   *plugin.Client
	conn     *wire.Conn
	tail     *child.Tail
	log      *journal.Journal
	exchange *exchange // of a strictly guarded plugin; nil: none
	guard    Guard
	attached bool         // somebody else started it
	hangUp   func() error // of an attached one
	parent   *os.File     // our end of the pipe that tells the plugin that we live
	closer   func() error
	stats    stats
	stopped  chan struct{} // closed by Stop
	stop     sync.Once
	early    atomic.Bool                 // it ended before Stop
	why      atomic.Pointer[fault.Error] // the watch ended it
	longest  longest
}

// Name returns the plugin's full name: encoders/vit.
func (p *Process) Name() string { return p.Binary.Ref() }

// PID returns the process id.
func (p *Process) PID() int { return p.child.PID() }

// Yield makes the plugin and what it starts give way to processes that compute. It does nothing to one that is attached.
func (p *Process) Yield() {
	if !p.attached {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, p.PID(), 10) // without it, it is only in the way
	}
}

// Done returns a channel that is closed when the process has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.child.Exited() }

// Tail returns the end of what the plugin wrote to stderr.
func (p *Process) Tail() string { return p.tail.String() }

// Err returns nil while the process runs and after Stop, else the fault.PluginDied that its callers got.
func (p *Process) Err() error {
	if p.attached {
		return nil
	}
	select {
	case <-p.child.Exited():
	default:
		return nil
	}
	if p.isStopped() && !p.early.Load() {
		return nil
	}
	return p.exitFault()
}

func (p *Process) isStopped() bool {
	select {
	case <-p.stopped:
		return true
	default:
		return false
	}
}

// Stats returns the time spent in each method so far, sorted by method.
func (p *Process) Stats() []MethodStats { return p.stats.list() }

// Profile starts or stops the recording of kernels in the plugin and returns those recorded since the last
// call, on the runner's clock. A plugin that does not record them returns none.
func (p *Process) Profile(ctx context.Context, on bool) ([]clip.KernelRun, error) {
	return p.conn.Profile(ctx, on)
}

// Plan asks the plugin, before it is configured, what a configuration will take of its device's memory. It
// returns nil when the plugin does not tell.
func (p *Process) Plan(ctx context.Context, q clip.PlanRequest) (*clip.Plan, error) {
	return p.conn.Plan(ctx, q)
}

// Memory returns what the plugin says of its memory, and base, what its program takes beside that: code,
// libraries, the language's runtime. A plugin that does not tell returns nothing. It must be configured.
func (p *Process) Memory(ctx context.Context) (parts []clip.MemoryPart, base int64, err error) {
	return p.conn.Memory(ctx)
}

// Repeat makes a call that was heard before, and returns its answer; see wire.Conn.Repeat.
func (p *Process) Repeat(ctx context.Context, method string, request proto.Message) (proto.Message, time.Duration, error) {
	return p.conn.Repeat(ctx, method, request)
}

// launch starts a plugin and connects to it. After an error nothing of the process is left.
func (s *Session) launch(ctx context.Context, d clip.Descriptor, b catalog.Binary, o StartOptions) (_ *Process, err error) {
	p := &Process{Descriptor: d, Binary: b, label: o.Label, guard: o.Guard, tail: &child.Tail{Home: filepath.Dir(b.Path)}, stopped: make(chan struct{})}
	if p.label == "" {
		p.label = b.Name
	}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if o.SHA256 != "" && o.SHA256 != b.SHA256 {
		return nil, p.changedFault()
	}
	if err := checkGuard(o.Guard); err != nil {
		return nil, err
	}
	code, err := catalog.OpenProgram(b.Path)
	if err != nil {
		return nil, err
	}
	defer code.File.Close()
	if !code.Script && code.SHA256 != b.SHA256 {
		return nil, p.changedFault()
	}
	if err := p.openLog(cmp.Or(o.LogDir, s.options.LogDir)); err != nil {
		return nil, err
	}
	childEnd, ourEnd, err := os.Pipe()
	if err != nil {
		return nil, fault.New(fault.Exhausted, "pipe: %w", err)
	}
	defer childEnd.Close()
	p.parent = ourEnd
	cleanUp, err := p.prepare(s, code, childEnd, o)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	if o.Guard.Memory > 0 || o.Guard.processes() > 0 {
		go p.watchUse(s.arena)
	}
	watched, over := s.watch.begin(p)(ctx, "Start", nil)
	defer over(nil)
	// Interrupting the start is ending the process: go-plugin then sees it exit.
	unwatch := context.AfterFunc(watched, func() { _ = p.child.Kill(ctx) })
	protocol, err := p.client.Client()
	if !unwatch() && ctx.Err() != nil {
		return nil, fault.New(fault.Canceled, "starting: %w", ctx.Err()).WithPlugin(b.Ref())
	}
	if why := p.why.Load(); err != nil && why != nil {
		return nil, p.watchFault(why)
	}
	if err != nil {
		return nil, p.startFault(err)
	}
	cc, err := wire.Dispense(protocol)
	if err != nil {
		return nil, p.startFault(err)
	}
	if p.exchange != nil {
		cc = exchangeConn{cc, p.exchange}
	}
	p.conn = wire.NewConn(cc, wire.ConnConfig{Plugin: b.Ref(), Protocol: p.client.NegotiatedVersion(), Arena: s.arena, Lost: p.lostFault, Watch: s.watch.begin(p), Words: p.recentWords, Shorten: p.shorten, Tap: s.tap(p.label), Observe: s.observe(p)})
	if err := p.introduce(ctx); err != nil {
		return nil, err
	}
	// It has read its code by now, and while it runs nobody can write to it.
	same := code.Unchanged()
	if code.Script {
		sum, err := code.Digest(d.Files, d.Versions)
		same = same && err == nil && sum == b.SHA256
	}
	if !same {
		return nil, p.changedFault()
	}
	return p, nil
}

// observe returns what is told of every call of a plugin.
func (s *Session) observe(p *Process) func(wire.Call) {
	return func(c wire.Call) {
		p.stats.add(c)
		if s.options.Observe != nil {
			s.options.Observe(Call{p.label, c})
		}
	}
}

// introduce asks the process for its descriptor. A manifest only says what a binary was when it was built, and
// a script may have changed.
func (p *Process) introduce(ctx context.Context) error {
	text, err := p.conn.Descriptor(ctx)
	if err != nil {
		return err
	}
	var d clip.Descriptor
	if err := json.Unmarshal(text, &d); err != nil {
		return fault.New(fault.Internal, "descriptor: %w", err).WithPlugin(p.Name())
	}
	if err := catalog.CheckDescriptor(d); err != nil {
		return fault.New(fault.Invalid, "%w", err).WithPlugin(p.Name())
	}
	if !maps.Equal(d.Versions, p.Descriptor.Versions) {
		return p.changedFault()
	}
	if d.Kind != p.Descriptor.Kind || d.Name != p.Descriptor.Name || d.Version != p.Descriptor.Version {
		return fault.New(fault.Conflict, "the process says that it is %s/%s %s, its descriptor said %s/%s %s", d.Kind.Dir(), d.Name,
			d.Version, p.Descriptor.Kind.Dir(), p.Descriptor.Name, p.Descriptor.Version).WithPlugin(p.Name()).
			WithHint("remove %s.json, or build the plugin again", p.Binary.Path)
	}
	return nil
}

func (p *Process) openLog(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(fault.Unavailable, "plugin log: %w", err)
	}
	path := journal.Path(dir, p.label)
	log, err := journal.Open(path, p.Name(), p.label, cmp.Or(p.guard.Log, journal.DefaultLimit))
	if err != nil {
		return fault.New(fault.Unavailable, "plugin log: %w", err)
	}
	p.log = log
	p.tail.CopyTo(log, path)
	return nil
}

// prepare sets up the process and what it is given: file descriptors, environment, a folder for sockets.
func (p *Process) prepare(s *Session, code *catalog.Program, parent *os.File, o StartOptions) (_ func(), err error) {
	argv := p.Binary.Command()
	cmd := exec.Command(argv[0], argv[1:]...)
	held, cleanUp, err := p.setProgram(cmd, s, code)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	cmd.Env = append(child.Environment(o.Threads), o.Env...)
	if p.Descriptor.Kind == clip.KindDataset && !o.Guard.Strict {
		cmd.Env = append(cmd.Env, child.StoreEnvironment()...)
	}
	if o.Guard.Strict {
		if p.exchange, err = newExchange(s.dir, o.Files, p.label, o.Read); err != nil {
			return nil, fault.New(fault.Unavailable, "folders for a guarded plugin: %w", err).WithPlugin(p.Name())
		}
		cmd.Env = append(cmd.Env, "TMPDIR="+p.exchange.temp)
	}
	pass := func(name string, f *os.File) {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", name, 2+len(cmd.ExtraFiles)))
	}
	pass(wire.EnvParentFD, parent)
	if s.arena != nil {
		pass(wire.EnvArenaFD, s.arena.File())
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", wire.EnvArenaSize, s.arena.Size()))
	}
	p.child = child.New(cmd, p.tail)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ClientPlugins(),
		RunnerFunc: func(_ hclog.Logger, c *exec.Cmd, sockets string) (runner.Runner, error) {
			p.child.AddEnv(c.Env...)
			p.child.Confine(p.confinement(code, cmd.Path, cmd.Env, sockets, o), held)
			return p.child, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  wire.DialOptions(),
		StartTimeout:     365 * 24 * time.Hour, // the watch sees to it
		SkipHostEnv:      true,
		Stderr:           p.tail,
		SyncStdout:       p.tail,
		SyncStderr:       p.tail,
		Logger:           hclog.NewNullLogger(), // the tail and the log have what the plugin says
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.dir},
	})
	return cleanUp, nil
}

// setProgram makes cmd execute the descriptor that was hashed, under the plugin's name. A script is read by its
// interpreter, which knows it by its path.
func (p *Process) setProgram(cmd *exec.Cmd, s *Session, code *catalog.Program) (held *os.File, cleanUp func(), err error) {
	if code.Script {
		return nil, func() {}, nil
	}
	path, held, err := child.ExecPath(code.File)
	if err != nil {
		return nil, func() {}, nil // no /proc here: by its path, which is looked at again afterwards
	}
	// The name that the system shows of a process is that of the file by which it was executed.
	dir, err := os.MkdirTemp(s.dir, "exec")
	if err == nil {
		cmd.Path = filepath.Join(dir, p.Binary.Name)
		err = os.Symlink(path, cmd.Path)
	}
	if err != nil {
		held.Close()
		return nil, nil, fault.New(fault.Unavailable, "%w", err).WithPlugin(p.Name())
	}
	return held, func() { held.Close(); os.RemoveAll(dir) }, nil
}

// Stop asks the plugin to end, and after less than a second kills it with its children. It may be called more
// than once.
func (p *Process) Stop() {
	p.stop.Do(func() {
		if p.child != nil {
			select {
			case <-p.child.Exited():
				p.early.Store(true)
			default:
			}
		}
		close(p.stopped)
		if p.closer != nil {
			runWithin(politeWait, func() { _ = p.closer() })
		}
		if p.client != nil {
			// Kill asks the plugin to end and waits for it; the timer makes sure that the wait ends.
			force := time.AfterFunc(politeWait, func() { _ = p.child.Kill(context.Background()) })
			p.client.Kill()
			force.Stop()
			_ = p.child.Kill(context.Background())
			if p.child.PID() != 0 {
				runWithin(killWait, func() { <-p.child.Exited() }) // a process that the kernel holds goes later
			}
		}
		if p.hangUp != nil {
			_ = p.hangUp()
			_ = p.child.Kill(context.Background())
		}
		if p.parent != nil {
			p.parent.Close()
		}
		if p.exchange != nil {
			p.exchange.close()
		}
		if p.log != nil {
			p.tail.Detach()
			p.log.Close()
		}
	})
}

// runWithin runs f. It returns when f does, or when the time is over.
func runWithin(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
