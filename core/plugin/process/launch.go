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
	"time"

	hclog "github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/journal"
	"tandem/core/plugin/wire"
)

// newProcess returns a process that has not started.
func newProcess(d clip.Descriptor, b catalog.Binary, o StartOptions) *Process {
	return &Process{Descriptor: d, Binary: b, label: cmp.Or(o.Label, b.Name), guard: o.Guard, tail: &child.Tail{Home: filepath.Dir(b.Path)}, stopped: make(chan struct{})}
}

// launch starts a plugin and connects to it. After an error nothing of the process is left.
func (s *Session) launch(ctx context.Context, d clip.Descriptor, b catalog.Binary, o StartOptions) (_ *Process, err error) {
	p := newProcess(d, b, o)
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if o.SHA256 != "" && o.SHA256 != b.SHA256 {
		return nil, p.changedFault()
	}
	code, protocol, err := p.boot(ctx, s, o)
	if err != nil {
		return nil, err
	}
	defer code.File.Close()
	cc, err := wire.Dispense(protocol)
	if err != nil {
		return nil, p.startFault(err)
	}
	if p.exchange != nil {
		cc = exchangeConn{cc, p.exchange}
	}
	p.connect(s, cc, p.client.NegotiatedVersion())
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

// connect makes the plugin's connection of cc, over which it speaks a version of the protocol.
func (p *Process) connect(s *Session, cc grpc.ClientConnInterface, version int) {
	p.conn = wire.NewConn(cc, wire.ConnConfig{Plugin: p.Binary.Ref(), Protocol: version, Arena: s.arena, Lost: p.lostFault, Watch: s.watch.begin(p), Words: p.recentWords, Shorten: p.shorten, Tap: s.tap(p.label), Observe: s.observe(p)})
}

// boot starts the process of a program and waits until it can be called. It returns the program's file, which the caller
// closes, and go-plugin's side of the connection.
func (p *Process) boot(ctx context.Context, s *Session, o StartOptions) (code *catalog.Program, protocol plugin.ClientProtocol, err error) {
	if err := checkGuard(o.Guard); err != nil {
		return nil, nil, err
	}
	opened, err := catalog.OpenProgram(p.Binary.Path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			opened.File.Close()
		}
	}()
	code = opened
	if !code.Script && code.SHA256 != p.Binary.SHA256 {
		return nil, nil, p.changedFault()
	}
	if err := p.openLog(cmp.Or(o.LogDir, s.options.LogDir)); err != nil {
		return nil, nil, err
	}
	childEnd, ourEnd, err := os.Pipe()
	if err != nil {
		return nil, nil, fault.New(fault.Exhausted, "pipe: %w", err)
	}
	defer childEnd.Close()
	p.parent = ourEnd
	cleanUp, err := p.prepare(s, code, childEnd, o)
	if err != nil {
		return nil, nil, err
	}
	defer cleanUp()
	if o.Guard.Memory > 0 || o.Guard.processes() > 0 {
		go p.watchUse(s.arena)
	}
	watched, over := s.watch.begin(p)(ctx, "Start", nil)
	defer over(nil)
	// Interrupting the start is ending the process: go-plugin then sees it exit.
	unwatch := context.AfterFunc(watched, func() { _ = p.child.Kill(ctx) })
	protocol, err = p.client.Client()
	if !unwatch() && ctx.Err() != nil {
		return nil, nil, fault.New(fault.Canceled, "starting: %w", ctx.Err()).WithPlugin(p.Name())
	}
	if why := p.why.Load(); err != nil && why != nil {
		return nil, nil, p.watchFault(why)
	}
	if err != nil {
		return nil, nil, p.startFault(err)
	}
	return code, protocol, nil
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
