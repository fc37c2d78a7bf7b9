package loss

import (
	"tandem/core/clip"
	"tandem/core/engine/profile"
)

var (
	_ clip.Meter          = (*Loss)(nil)
	_ clip.Profiler       = (*Loss)(nil)
	_ clip.MemoryReporter = (*Loss)(nil)
)

// Work implements clip.Meter.
func (l *Loss) Work() float64 { return l.session.Work() }

// SetProfile implements clip.Profiler.
func (l *Loss) SetProfile(on bool) { l.session.SetProfile(on) }

// KernelRuns implements clip.Profiler.
func (l *Loss) KernelRuns() []clip.KernelRun { return l.session.KernelRuns() }

// Memory implements clip.MemoryReporter.
func (l *Loss) Memory() []clip.MemoryPart {
	if l.session.Backend == nil {
		return nil
	}
	return profile.Memory(l.session.Backend, append(l.parts(), l.session.Unpinned()...)...)
}

// parts lists what the loss has allocated, by purpose.
func (l *Loss) parts() []clip.MemoryPart {
	activations, workspace, _ := l.programs.Memory()
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: profile.Size(l.params.store.Values)},
		{Name: "gradients", Bytes: profile.Size(l.params.store.Grads)},
		{Name: "activations", Bytes: activations},
		{Name: "workspace", Bytes: workspace},
	}
}

// OnHeap returns how many bytes of Memory lie on Go's heap.
func (l *Loss) OnHeap() int64 { return l.session.OnHeap() }
