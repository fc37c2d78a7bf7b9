package process

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	plugin "github.com/hashicorp/go-plugin"
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
	name     string       // of a process that serves several plugins; "": that of Binary
	attached bool         // somebody else started it
	hangUp   func() error // of an attached or colocated one
	parent   *os.File     // our end of the pipe that tells the plugin that we live
	closer   func() error
	stats    stats
	stopped  chan struct{} // closed by Stop
	stop     sync.Once
	early    atomic.Bool                 // it ended before Stop
	why      atomic.Pointer[fault.Error] // the watch ended it
	longest  longest

	colocated *Colocated // the process that serves this plugin among others; nil: it has one of its own
}

// Name returns the plugin's full name: encoders/vit.
func (p *Process) Name() string {
	if p.name != "" {
		return p.name
	}
	return p.Binary.Ref()
}

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

// observe returns what is told of every call of a plugin.
func (s *Session) observe(p *Process) func(wire.Call) {
	return func(c wire.Call) {
		p.stats.add(c)
		if s.options.Observe != nil {
			s.options.Observe(Call{p.label, c})
		}
	}
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
		if p.colocated != nil {
			p.leave()
			return
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
