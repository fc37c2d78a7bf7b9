package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// BrokeRule reports whether err comes from a plugin that broke a rule of the protocol.
func BrokeRule(err error) bool { return errors.Is(err, wire.ErrRule) }

// ErrChanged is wrapped by the fault of a plugin that has changed since it was described.
var ErrChanged = errors.New("")

func (p *Process) changedFault() error {
	return fault.New(fault.Conflict, "%s has changed since it was looked at%w", p.Binary.Path, ErrChanged).WithPlugin(p.Name()).
		WithHint("it, or a package that it uses, was built or edited while the run began; start again")
}

// startFault explains go-plugin's error for a plugin that did not come up.
func (p *Process) startFault(err error) error {
	_ = p.child.Kill(context.Background())
	text := err.Error()
	switch {
	case p.child.PID() == 0:
		return fault.New(fault.Unavailable, "cannot start %s: %w", p.Binary.Path, err).WithPlugin(p.Name())
	case strings.Contains(text, "incompatible API version"):
		var plugin int
		if _, after, ok := strings.Cut(text, "Plugin version: "); ok {
			_, _ = fmt.Sscan(after, &plugin)
		}
		return catalog.WrongProtocol(plugin).WithPlugin(p.Name())
	case strings.HasPrefix(text, "Unrecognized remote plugin message: ") && !strings.Contains(text, "Failed to read any lines"):
		line, _, _ := strings.Cut(strings.TrimPrefix(text, "Unrecognized remote plugin message: "), "\n")
		return fault.New(fault.Invalid, "is not a tandem plugin: it printed %.80q for a handshake", line).
			WithPlugin(p.Name()).WithDetail(p.lastWords())
	}
	select {
	case <-p.child.Exited():
		return p.diedFault("ended before it could be used: %s", p.child.State())
	case <-time.After(lostWait):
		return fault.New(fault.Internal, "start: %w", err).WithPlugin(p.Name()).WithDetail(p.lastWords())
	}
}

// lostFault explains a broken connection. It makes sure that the process has ended and says how.
func (p *Process) lostFault() error {
	if p.isStopped() && !p.early.Load() {
		return fault.New(fault.Canceled, "the plugin was stopped").WithPlugin(p.Name())
	}
	if why := p.verdict(); why != nil {
		return p.watchFault(why)
	}
	if p.attached {
		return fault.New(fault.PluginDied, "the connection to the plugin that you attached to is lost").WithPlugin(p.Name()).
			WithHint("has its process ended? start it again, and export what it prints")
	}
	select {
	case <-p.child.Exited():
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
	if why := p.verdict(); why != nil {
		return p.watchFault(why)
	}
	err := p.diedFault("the process ended unexpectedly: %s", p.child.State())
	if status, ok := p.child.State().Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return err.WithHint("somebody killed it; when it was the kernel for want of memory, dmesg says so")
	}
	return err
}

func (p *Process) diedFault(format string, args ...any) *fault.Error {
	return fault.New(fault.PluginDied, format, args...).WithPlugin(p.Name()).WithDetail(p.lastWords())
}

// lastWords returns the tail, once go-plugin has read stderr to its end.
func (p *Process) lastWords() string {
	if p.attached {
		return "" // to the terminal where it was started
	}
	for deadline := time.Now().Add(child.DrainWait); !p.client.Exited() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if said := p.tail.Quote(); said != "" {
		return said
	}
	return "(it wrote nothing to stderr)"
}

// sayWait lets an error wait for what the plugin wrote before it: a pipe lies between.
const sayWait = 30 * time.Millisecond

// recentWords returns what the plugin wrote last and where its log is, for an error while it runs.
func (p *Process) recentWords() string {
	time.Sleep(sayWait)
	return p.tail.Quote()
}

// shorten puts the lines of the plugin's author first in the detail of an error.
func (p *Process) shorten(detail string) string { return child.OwnFirst(detail, p.tail.Home) }
