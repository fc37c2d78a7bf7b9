package loss

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/profile"
)

var (
	_ clip.Profiler       = (*Loss)(nil)
	_ clip.MemoryReporter = (*Loss)(nil)
)

// SetProfile implements clip.Profiler.
func (l *Loss) SetProfile(on bool) {
	l.recorder.SetProfile(on)
	if l.programs != nil {
		l.programs.setProfile(l.recorder.Hook())
	}
}

// Events implements clip.Profiler.
func (l *Loss) KernelRuns() []clip.KernelRun { return l.recorder.KernelRuns() }

// Memory implements clip.MemoryReporter.
func (l *Loss) Memory() []clip.MemoryPart {
	if l.backend == nil {
		return nil
	}
	return profile.Memory(l.backend, l.parts()...)
}

// parts are what the loss allocated, by purpose.
func (l *Loss) parts() []clip.MemoryPart {
	activations := int64(0)
	for _, p := range l.programs.byKey {
		activations += p.prog.Memory().Activations
	}
	return []clip.MemoryPart{
		{Name: "parameters", Bytes: size(l.params.store.Values)},
		{Name: "gradients", Bytes: size(l.params.store.Grads)},
		{Name: "activations", Bytes: activations},
		{Name: "workspace", Bytes: l.programs.workspace.Bytes()},
	}
}

// OnHeap is how much of Memory lies on Go's heap.
func (l *Loss) OnHeap() int64 { return profile.OnHeap(l.backend) }

// size is the bytes of a buffer when Real is float32.
func size(b device.Buffer) int64 { return int64(b.Len()) * int64(b.DType().Size()) }
