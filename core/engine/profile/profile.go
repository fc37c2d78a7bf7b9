// Package profile notes the kernels that programs of core/engine/graph run, as clip.Profiler tells them.
package profile

import (
	"time"

	"tandem/core/clip"
	"tandem/core/engine/graph"
)

// Recorder notes kernels while it is on. The zero value is off. It is for one goroutine.
type Recorder struct {
	on     bool
	events []clip.KernelRun
}

// SetProfile turns noting on or off.
func (r *Recorder) SetProfile(on bool) { r.on = on }

// Hook returns what graph.Program.SetProfile takes: nil while the recorder is off.
func (r *Recorder) Hook() func(graph.Event) {
	if !r.on {
		return nil
	}
	return r.kernel
}

func (r *Recorder) kernel(e graph.Event) {
	r.events = append(r.events, clip.KernelRun{Op: e.Op, Scope: e.Scope, Backward: e.Backward, FLOPs: e.FLOPs, Bytes: e.Bytes,
		Start: e.Start, Duration: e.Duration})
}

// Note notes what is no kernel of a program, such as an optimiser step that began at start and ends
// now.
func (r *Recorder) Note(op, scope string, bytes float64, start time.Time) {
	if r.on {
		r.events = append(r.events, clip.KernelRun{Op: op, Scope: scope, Bytes: bytes, Start: start, Duration: time.Since(start)})
	}
}

// KernelRuns returns what was recorded since the last call.
func (r *Recorder) KernelRuns() []clip.KernelRun {
	events := r.events
	r.events = nil
	return events
}
