package graph

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// A pass holds calls that always run together. A backend that records runs it plainly the first time, so that kernels
// make what they need, records the second run and replays it from then on: a host that starts hundreds of kernels one
// by one keeps fast hardware waiting. A pass whose recording fails runs plainly for good, which gives the same, and a
// line on stderr says so once in a process.
type pass struct {
	calls    []call
	backward bool

	warm      bool             // it ran plainly
	plain     bool             // it cannot be recorded
	recording device.Recording // nil: none yet
}

func newPass(calls []call, backward bool) *pass {
	host := func(c call) bool { return c.step.host != nil }
	// A single kernel starts no faster from a recording.
	return &pass{calls: calls, backward: backward, plain: len(calls) < 2 || slices.ContainsFunc(calls, host)}
}

// run does the calls: a recording where there is one, unless somebody wants to see every kernel. final is told of
// gradients as BackwardTelling says; nil: nobody is.
func (p *pass) run(backend device.Backend, profile func(Event), final func(param string)) error {
	recorder, ok := backend.(device.Recorder)
	if !ok || p.plain || profile != nil || final != nil {
		return p.runEach(backend, profile, final)
	}
	if p.recording != nil && p.recording.Stale() {
		p.release()
	}
	if p.recording == nil {
		if !p.warm {
			p.warm = true
			return p.runEach(backend, nil, nil)
		}
		recording, err := recorder.Record(func() error { return p.runEach(backend, nil, nil) })
		if err != nil {
			if broken := device.Err(backend); broken != nil {
				return broken
			}
			p.plain = true
			if err := p.runEach(backend, nil, nil); err != nil {
				return err // of a call, recorded or not
			}
			tellPlain(err)
			return nil
		}
		p.recording = recording
	}
	return p.recording.Replay()
}

var (
	toldPlain atomic.Bool
	warnings  io.Writer = os.Stderr
)

// tellPlain warns that passes are not recorded, once in a process.
func tellPlain(why error) {
	if toldPlain.CompareAndSwap(false, true) {
		fmt.Fprintf(warnings, "warning: kernels are started one by one, which is slower, because they cannot be recorded: %s\n", fault.PrintableLine(why.Error()))
	}
}

// runEach runs the calls one by one; for a profile it waits for each, as what starts a kernel may return at once.
func (p *pass) runEach(backend device.Backend, profile func(Event), final func(param string)) error {
	for k := range p.calls {
		if err := p.runCall(&p.calls[k], backend, profile, final); err != nil {
			return err
		}
	}
	return device.Err(backend)
}

func (p *pass) runCall(c *call, backend device.Backend, profile func(Event), final func(param string)) error {
	start := time.Time{}
	if profile != nil {
		if err := device.Wait(backend); err != nil {
			return err
		}
		start = time.Now()
	}
	switch {
	case c.exec != nil:
		c.exec.Run(c.args, c.step.scalars...)
	case c.step.host != nil:
		if err := c.step.host.run(backend, c.inputs(), c.outputs()); err != nil {
			return err
		}
	default:
		backend.Copy(c.args[1], c.args[0])
	}
	if profile != nil {
		if err := device.Wait(backend); err != nil {
			return err
		}
		profile(c.event(p.backward, start))
	}
	c.tell(final)
	return nil
}

// inputs and outputs return the arguments of a step that runs on the host.
func (c *call) inputs() []device.Buffer  { return c.args[:c.step.outs] }
func (c *call) outputs() []device.Buffer { return c.args[c.step.outs:] }

// tell tells final of the gradients that are complete after the call.
func (c *call) tell(final func(param string)) {
	if final == nil {
		return
	}
	for _, a := range c.final {
		final(a.entry.Name)
	}
}

// release drops the recording: the memory that it uses goes.
func (p *pass) release() {
	if p != nil && p.recording != nil {
		p.recording.Release()
		p.recording = nil
	}
}

func (c *call) event(backward bool, start time.Time) Event {
	e := Event{Op: c.step.name, Scope: c.step.scope, Backward: backward, FLOPs: device.FLOPs(c.step.kernel), Start: start, Duration: time.Since(start)}
	for _, b := range c.args {
		if b != nil {
			e.Bytes += float64(b.Len() * b.DType().Size())
		}
	}
	return e
}
