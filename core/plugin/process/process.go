package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"tandem/core/clip"
	"tandem/core/fault"
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
	Binary     Binary

	label   string
	child   *child
	client  *plugin.Client
	conn    *wire.Conn
	tail    *tail
	log     *logFile
	parent  *os.File // our end of the pipe that tells the plugin that we live
	closer  func() error
	stats   stats
	stopped chan struct{} // closed by Stop
	stop    sync.Once
	early   atomic.Bool                 // it ended before Stop
	why     atomic.Pointer[fault.Error] // the watch ended it
	longest longest
}

// Name returns the plugin's full name: encoders/vit.
func (p *Process) Name() string { return p.Binary.Ref() }

// PID returns the process id.
func (p *Process) PID() int { return p.child.pid() }

// Done returns a channel that is closed when the process has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.child.exited }

// Tail returns the end of what the plugin wrote to stderr.
func (p *Process) Tail() string { return p.tail.String() }

// Err returns nil while the process runs and after Stop, else the fault.PluginDied that its callers got.
func (p *Process) Err() error {
	select {
	case <-p.child.exited:
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

// launch starts a plugin and connects to it. After an error nothing of the process is left.
func (s *Session) launch(ctx context.Context, d clip.Descriptor, b Binary, o StartOptions) (_ *Process, err error) {
	p := &Process{Descriptor: d, Binary: b, label: o.Label, tail: &tail{}, stopped: make(chan struct{})}
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
	code, err := openProgram(b.Path)
	if err != nil {
		return nil, err
	}
	defer code.file.Close()
	if !code.script && code.sha256 != b.SHA256 {
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
	p.conn = wire.NewConn(cc, wire.ConnConfig{Plugin: b.Ref(), Arena: s.arena, Lost: p.lostFault, Watch: s.watch.begin(p), Words: p.recentWords, Observe: func(c wire.Call) {
		p.stats.add(c)
		if s.options.Observe != nil {
			s.options.Observe(Call{p.label, c})
		}
	}})
	if err := p.introduce(ctx); err != nil {
		return nil, err
	}
	// It has read its code by now, and while it runs nobody can write to it.
	same := code.unchanged()
	if code.script {
		sum, err := code.digest(d.Files, d.Versions)
		same = same && err == nil && sum == b.SHA256
	}
	if !same {
		return nil, p.changedFault()
	}
	return p, nil
}

// BrokeRule reports whether err comes from a plugin that broke a rule of the protocol.
func BrokeRule(err error) bool { return errors.Is(err, wire.ErrRule) }

// ErrChanged is wrapped by the fault of a plugin that has changed since it was described.
var ErrChanged = errors.New("")

func (p *Process) changedFault() error {
	return fault.New(fault.Conflict, "%s has changed since it was looked at%w", p.Binary.Path, ErrChanged).WithPlugin(p.Name()).
		WithHint("it was built or edited while the run began; start again")
}

// introduce asks the process what it is: a manifest only says what a binary was when it was built, and
// an interpreter's script may have changed its mind.
func (p *Process) introduce(ctx context.Context) error {
	text, err := p.conn.Descriptor(ctx)
	if err != nil {
		return err
	}
	var d clip.Descriptor
	if err := json.Unmarshal(text, &d); err != nil {
		return fault.New(fault.Internal, "descriptor: %w", err).WithPlugin(p.Name())
	}
	if err := checkDescriptor(d); err != nil {
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
	path := logPath(dir, p.label)
	log, err := openLog(path)
	if err != nil {
		return fault.New(fault.Unavailable, "plugin log: %w", err)
	}
	p.log, p.tail.log, p.tail.path = log, log, path
	return nil
}

// prepare sets up the process with what it is given: descriptors, environment, a place for sockets.
func (p *Process) prepare(s *Session, code *program, parent *os.File, o StartOptions) (cleanUp func(), err error) {
	cmd := exec.Command(p.Binary.Path)
	if cleanUp, err = p.setProgram(cmd, s, code); err != nil {
		return nil, err
	}
	cmd.SysProcAttr = processGroup()
	cmd.Env = append(environment(o.Threads), o.Env...)
	pass := func(name string, f *os.File) {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", name, 2+len(cmd.ExtraFiles)))
	}
	pass(wire.EnvParentFD, parent)
	if s.arena != nil {
		pass(wire.EnvArenaFD, s.arena.File())
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", wire.EnvArenaSize, s.arena.Size()))
	}
	p.child = newChild(cmd, p.tail)
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.ClientPlugins(),
		RunnerFunc: func(_ hclog.Logger, c *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, c.Env...)
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
func (p *Process) setProgram(cmd *exec.Cmd, s *Session, code *program) (cleanUp func(), err error) {
	if code.script {
		return func() {}, nil
	}
	path, held, err := execPath(code.file)
	if err != nil {
		return func() {}, nil // no /proc here: by its path, which is looked at again afterwards
	}
	// The name that the system shows of a process is that of the file by which it was executed.
	dir, err := os.MkdirTemp(s.dir, "exec")
	if err == nil {
		cmd.Path = filepath.Join(dir, p.Binary.Name)
		err = os.Symlink(path, cmd.Path)
	}
	if err != nil {
		held.Close()
		return nil, fault.New(fault.Unavailable, "%w", err).WithPlugin(p.Name())
	}
	return func() { held.Close(); os.RemoveAll(dir) }, nil
}

// startFault words go-plugin's errors for a plugin that did not come up.
func (p *Process) startFault(err error) error {
	_ = p.child.Kill(context.Background())
	text := err.Error()
	switch {
	case p.child.pid() == 0:
		return fault.New(fault.Unavailable, "cannot start %s: %w", p.Binary.Path, err).WithPlugin(p.Name())
	case strings.Contains(text, "incompatible API version"):
		var plugin int
		if _, after, ok := strings.Cut(text, "Plugin version: "); ok {
			_, _ = fmt.Sscan(after, &plugin)
		}
		return wrongProtocol(plugin).WithPlugin(p.Name())
	case strings.HasPrefix(text, "Unrecognized remote plugin message: ") && !strings.Contains(text, "Failed to read any lines"):
		line, _, _ := strings.Cut(strings.TrimPrefix(text, "Unrecognized remote plugin message: "), "\n")
		return fault.New(fault.Invalid, "is not a tandem plugin: it printed %.80q for a handshake", line).
			WithPlugin(p.Name()).WithDetail(p.lastWords())
	}
	select {
	case <-p.child.exited:
		return p.diedFault("ended before it could be used: %s", p.child.cmd.ProcessState)
	case <-time.After(lostWait):
		return fault.New(fault.Internal, "start: %w", err).WithPlugin(p.Name()).WithDetail(p.lastWords())
	}
}

// lostFault explains a broken connection: it sees to it that the process has ended and says how.
func (p *Process) lostFault() error {
	if p.isStopped() && !p.early.Load() {
		return fault.New(fault.Canceled, "the plugin was stopped").WithPlugin(p.Name())
	}
	if why := p.why.Load(); why != nil {
		return p.watchFault(why)
	}
	select {
	case <-p.child.exited:
		return p.exitFault()
	case <-time.After(lostWait):
		_ = p.child.Kill(context.Background()) // alive without a connection: of no use
		return p.diedFault("closed its connection")
	}
}

// watchFault returns the error of a process that the watch ended.
func (p *Process) watchFault(why *fault.Error) error {
	e := *why
	return e.WithDetail(p.lastWords())
}

// exitFault returns the error of a process that has ended without having been asked to.
func (p *Process) exitFault() error {
	if why := p.why.Load(); why != nil {
		return p.watchFault(why)
	}
	err := p.diedFault("the process ended unexpectedly: %s", p.child.cmd.ProcessState)
	if status, ok := p.child.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return err.WithHint("somebody killed it; when it was the kernel for want of memory, dmesg says so")
	}
	return err
}

func (p *Process) diedFault(format string, args ...any) *fault.Error {
	return fault.New(fault.PluginDied, format, args...).WithPlugin(p.Name()).WithDetail(p.lastWords())
}

// lastWords returns the tail, once go-plugin has read stderr to its end.
func (p *Process) lastWords() string {
	for deadline := time.Now().Add(drainWait); !p.client.Exited() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if said := p.tail.quote(); said != "" {
		return said
	}
	return "(it wrote nothing to stderr)"
}

// sayWait lets an error wait for what the plugin wrote before it: a pipe lies between.
const sayWait = 30 * time.Millisecond

// recentWords returns what the plugin wrote last and where its log is, for an error while it runs.
func (p *Process) recentWords() string {
	time.Sleep(sayWait)
	return p.tail.quote()
}

// Stop ends the plugin: politely, and after less than a second by force, its children with it. It
// may be called more than once.
func (p *Process) Stop() {
	p.stop.Do(func() {
		if p.child != nil {
			select {
			case <-p.child.exited:
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
			if p.child.pid() != 0 {
				runWithin(killWait, func() { <-p.child.exited }) // a process that the kernel holds goes later
			}
		}
		if p.parent != nil {
			p.parent.Close()
		}
		if p.log != nil {
			p.tail.detach()
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

// MethodStats tells the time that calls of one method took.
type MethodStats struct {
	Method string
	Calls  int
	Failed int
	Client time.Duration // as the callers waited; Client − Server is the wire
	Server time.Duration // inside the plugin
	Work   float64       // floating-point operations, where the plugin counts them (clip.Meter)
}

type stats struct {
	mu sync.Mutex
	by map[string]*MethodStats
}

func (s *stats) add(c wire.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.by[c.Method]
	if m == nil {
		m = &MethodStats{Method: c.Method}
		if s.by == nil {
			s.by = map[string]*MethodStats{}
		}
		s.by[c.Method] = m
	}
	m.Calls++
	if c.Failed { // without the server's time, the client's would count as wire
		m.Failed++
		return
	}
	m.Client += c.Client
	m.Server += c.Server
	m.Work += c.Work
}

func (s *stats) list() []MethodStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]MethodStats, 0, len(s.by))
	for _, m := range s.by {
		list = append(list, *m)
	}
	slices.SortFunc(list, func(a, b MethodStats) int { return strings.Compare(a.Method, b.Method) })
	return list
}
