package graph

import "tandem/core/device"

// Workspace is growing device memory that programs on one backend share for values that live within
// one pass. It is for one goroutine.
type Workspace struct {
	backend device.Backend
	buffer  device.Buffer
	size    int
	version int // counts growths: instances rebind when it moved
}

// NewWorkspace makes an empty workspace; programs make it grow.
func NewWorkspace(backend device.Backend) *Workspace { return &Workspace{backend: backend} }

// Bytes is the present size, when Real is float32.
func (w *Workspace) Bytes() int64 { return int64(w.size) * 4 }

// Close frees the memory.
func (w *Workspace) Close() {
	if w.buffer != nil {
		w.backend.Free(w.buffer)
		w.buffer, w.size = nil, 0
		w.version++
	}
}
