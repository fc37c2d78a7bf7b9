package tower

import (
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/profile"
)

var (
	_ clip.Profiler       = (*encoder)(nil)
	_ clip.MemoryReporter = (*encoder)(nil)
)

// SetProfile implements clip.Profiler.
func (e *encoder) SetProfile(on bool) {
	e.recorder.SetProfile(on)
	if e.programs != nil {
		e.programs.setProfile(e.recorder.Hook())
	}
}

// Events implements clip.Profiler.
func (e *encoder) KernelRuns() []clip.KernelRun { return e.recorder.KernelRuns() }

// passes notes an operation of the optimiser: so many passes over an array as long as what is trained.
func (e *encoder) passes(op string, n int, start time.Time) {
	if e.recorder.Hook() == nil {
		return
	}
	_ = device.Wait(e.backend) // its error is that of what comes next
	e.recorder.Note(op, "optimizer", float64(n)*float64(e.params.trained.Total)*4, start)
}

func (c *programs) setProfile(f func(graph.Event)) {
	c.profile = f
	for _, p := range c.byKey {
		p.prog.SetProfile(f)
	}
}

// Memory implements clip.MemoryReporter.
func (e *encoder) Memory() []clip.MemoryPart {
	if !e.configured || e.closed {
		return nil
	}
	return profile.Memory(e.backend, e.parts()...)
}

// parts are what the tower allocated, by purpose.
func (e *encoder) parts() []clip.MemoryPart {
	optimizer, constants, activations := int64(0), int64(0), int64(0)
	for _, s := range e.slots() {
		optimizer += size(s.Buffer)
	}
	for _, p := range e.programs.byKey {
		plan := p.prog.Memory()
		constants += plan.Constants
		activations += int64(p.busy+len(p.idle)) * plan.Activations
	}
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: size(e.params.store.Values)},
		{Name: "gradients", Bytes: size(e.params.store.Grads)},
		{Name: "optimizer", Bytes: optimizer},
		{Name: "statistics", Bytes: size(e.params.states.Values)},
		{Name: "activations", Bytes: activations},
		{Name: "workspace", Bytes: e.programs.workspace.Bytes()},
		{Name: "constants", Bytes: constants},
		{Name: "next pictures", Bytes: size(e.intake.ahead)},
	}
}

// OnHeap is how much of Memory lies on Go's heap.
func (e *encoder) OnHeap() int64 { return profile.OnHeap(e.backend) }

// size is the bytes of a buffer when Real is float32.
func size(b device.Buffer) int64 {
	if b == nil {
		return 0
	}
	return int64(b.Len()) * int64(b.DType().Size())
}
