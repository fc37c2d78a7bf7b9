package tower

import (
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/profile"
)

var (
	_ clip.Meter          = (*encoder)(nil)
	_ clip.Profiler       = (*encoder)(nil)
	_ clip.MemoryReporter = (*encoder)(nil)
)

// Work implements clip.Meter.
func (e *encoder) Work() float64 { return e.session.Work() }

// SetProfile implements clip.Profiler.
func (e *encoder) SetProfile(on bool) { e.session.SetProfile(on) }

// KernelRuns implements clip.Profiler.
func (e *encoder) KernelRuns() []clip.KernelRun { return e.session.KernelRuns() }

// notePasses notes an operation of the optimiser: n passes over an array as long as what is trained.
func (e *encoder) notePasses(op string, n int, start time.Time) {
	if !e.session.Profiling() {
		return
	}
	_ = device.Wait(e.session.Backend) // its error is that of what comes next
	e.session.Note(op, "optimizer", float64(n)*float64(e.params.trained.Total)*4, start)
}

// Memory implements clip.MemoryReporter.
func (e *encoder) Memory() []clip.MemoryPart {
	if !e.configured || e.closed {
		return nil
	}
	return profile.Memory(e.session.Backend, append(e.parts(), e.session.Unpinned()...)...)
}

// parts lists what the tower has allocated, by purpose.
func (e *encoder) parts() []clip.MemoryPart {
	optimizer := int64(0)
	for _, s := range e.trained.States() {
		optimizer += profile.Size(s.Buffer)
	}
	ema := int64(0)
	if e.params.average != nil {
		ema = profile.Size(e.params.average.Values())
	}
	activations, workspace, constants := e.programs.Memory()
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: profile.Size(e.params.store.Values)},
		{Name: "gradients", Bytes: profile.Size(e.params.store.Grads)},
		{Name: "optimizer", Bytes: optimizer},
		{Name: "ema", Bytes: ema},
		{Name: "statistics", Bytes: profile.Size(e.params.states.Values)},
		{Name: "activations", Bytes: activations},
		{Name: "workspace", Bytes: workspace},
		{Name: "constants", Bytes: constants},
		{Name: "next pictures", Bytes: profile.Size(e.intake.ahead)},
	}
}

// OnHeap returns how many bytes of Memory lie on Go's heap.
func (e *encoder) OnHeap() int64 { return e.session.OnHeap() }
