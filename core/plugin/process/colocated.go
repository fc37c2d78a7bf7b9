package process

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/wire"
)

// ColocatedLabel names the log of a process that serves several plugins.
const ColocatedLabel = "colocated"

// Colocated stands for one process that serves several plugins of a session. It starts with the first of them, and ends
// when all have been stopped. Every plugin has a connection, calls and a Process of its own; the operating system's
// process, its log and its end are the same: when it dies, all its plugins have died.
type Colocated struct {
	program catalog.Binary
	labels  []string
	plugins []string // full names, beside labels

	begin sync.Once
	host  *Process
	dir   string // of its sockets
	err   error

	mu   sync.Mutex
	open int // plugins that were started and not stopped
}

// NewColocated returns a process of a program (catalog.Catalog.Colocated) that has not started yet. plugins has the full
// name of the plugin of each label (StartOptions.Label).
func NewColocated(program catalog.Binary, labels, plugins []string) *Colocated {
	return &Colocated{program: program, labels: labels, plugins: plugins}
}

// holds reports whether the process is to serve the plugin of a label.
func (c *Colocated) holds(label string) bool { return c != nil && c.place(label) >= 0 }

func (c *Colocated) place(label string) int {
	for i, l := range c.labels {
		if l == label {
			return i
		}
	}
	return -1
}

// start starts the process, once. Its threads and environment are those of the plugin that comes first.
func (c *Colocated) start(ctx context.Context, s *Session, o StartOptions) error {
	c.begin.Do(func() { c.host, c.dir, c.err = s.launchColocated(ctx, c, o) })
	return c.err
}

// launchColocated starts the process of c and returns the folder of its sockets.
func (s *Session) launchColocated(ctx context.Context, c *Colocated, o StartOptions) (_ *Process, dir string, err error) {
	p := newProcess(clip.Descriptor{}, c.program, StartOptions{Label: ColocatedLabel, Guard: o.Guard})
	p.name = strings.Join(c.plugins, ", ")
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	names, err := json.Marshal(c.plugins)
	if err != nil {
		return nil, "", fault.New(fault.Internal, "%w", err)
	}
	code, protocol, err := p.boot(ctx, s, StartOptions{LogDir: o.LogDir, Threads: o.Threads, Guard: o.Guard,
		Env: append(o.Env, wire.EnvColocated+"="+string(names))})
	if err != nil {
		return nil, "", err
	}
	defer code.File.Close()
	// After the first call of go-plugin's own server, what the plugins write goes to the log.
	if err := protocol.Ping(); err != nil {
		return nil, "", p.startFault(err)
	}
	if !code.Unchanged() {
		return nil, "", p.changedFault()
	}
	at := p.client.ReattachConfig()
	if at == nil || at.Addr == nil {
		return nil, "", fault.New(fault.Internal, "go-plugin does not tell where the process listens").WithPlugin(p.Name())
	}
	return p, filepath.Dir(at.Addr.String()), nil
}

// join connects to a plugin that a process of several serves.
func (s *Session) join(ctx context.Context, d clip.Descriptor, b catalog.Binary, o StartOptions) (_ *Process, err error) {
	c := o.Colocated
	if err := c.start(ctx, s, o); err != nil {
		return nil, err
	}
	p := newProcess(d, b, o)
	p.colocated, p.child, p.client, p.tail = c, c.host.child, c.host.client, c.host.tail
	c.count(1)
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if o.SHA256 != "" && o.SHA256 != b.SHA256 {
		return nil, p.changedFault()
	}
	socket := wire.ColocatedSocket(c.dir, c.place(o.Label))
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	cc, err := grpc.NewClient("passthrough:///plugin", append(wire.DialOptions(), grpc.WithContextDialer(dial), grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err).WithPlugin(p.Name())
	}
	p.hangUp = cc.Close
	p.connect(s, cc, c.host.client.NegotiatedVersion())
	return p, p.introduce(ctx)
}

// count adds to the plugins that are open, and ends the process after the last.
func (c *Colocated) count(n int) {
	c.mu.Lock()
	c.open += n
	last := c.open == 0
	c.mu.Unlock()
	if last {
		c.host.Stop()
	}
}

// Colocated reports whether other plugins are served by the same process.
func (p *Process) Colocated() bool { return p.colocated != nil }

// leave ends the use of a process that other plugins may still use.
func (p *Process) leave() {
	if p.hangUp != nil {
		_ = p.hangUp()
	}
	p.colocated.count(-1)
}

// verdict returns why the watch ended the process: for a call of this plugin, or for one of another that it serves; nil when
// the watch did not.
func (p *Process) verdict() *fault.Error {
	if why := p.why.Load(); why != nil || p.colocated == nil {
		return why
	}
	return p.colocated.host.why.Load()
}
