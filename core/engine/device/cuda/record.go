//go:build clipcuda

package cuda

import (
	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// recording holds a CUDA graph.
type recording struct {
	b          *Backend
	graph      *driver.Graph
	generation int
}

// Record captures what run enqueues as a CUDA graph. Exec.Run, Copy and Zero can be recorded; anything else
// makes it an error, fault.Unavailable or fault.Conflict, and the backend goes on as it was. Copies in
// bfloat16 are made within the recording, so that it depends on nothing that was computed before.
func (b *Backend) Record(run func() error) (device.Recording, error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.recording {
		return nil, fault.New(fault.Conflict, "work is being recorded already")
	}
	b.halves.forget()
	b.recording, b.refused = true, nil
	defer func() { // run may panic
		b.recording, b.refused = false, nil
		b.halves.forget()
	}()
	graph, err := b.stream.Capture(func() error {
		if err := run(); err != nil {
			return err
		}
		return b.refused
	})
	if err != nil {
		return nil, err
	}
	r := &recording{b, graph, b.generation}
	b.recordings[r] = struct{}{}
	return r, nil
}

// Replay enqueues the graph.
func (r *recording) Replay() error {
	b := r.b
	switch {
	case b.err != nil:
		return b.err
	case b.recording:
		return fault.New(fault.Conflict, "a recording cannot be replayed while work is recorded")
	case r.graph == nil || r.Stale():
		return fault.New(fault.Conflict, "the recording was released, or is stale")
	}
	b.halves.forget() // the graph writes where they lie
	b.noteError(r.graph.Launch(b.stream))
	return b.err
}

// Stale reports whether scratch moved since.
func (r *recording) Stale() bool { return r.generation != r.b.generation }

// Release frees the graph.
func (r *recording) Release() {
	if r.graph == nil {
		return
	}
	delete(r.b.recordings, r)
	r.b.sync() // a graph may not be destroyed in the middle of its work on every driver
	r.b.noteError(r.graph.Destroy())
	r.graph = nil
}
