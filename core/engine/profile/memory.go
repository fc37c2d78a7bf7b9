package profile

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
)

// Memory returns parts, followed by what the backend says of itself (clip.MemoryReporter): packed copies of
// parameters, and as "other" whatever it has allocated beyond all these, such as scratch and the rounding up of
// buffers.
func Memory(backend device.Backend, parts ...clip.MemoryPart) []clip.MemoryPart {
	if b, ok := backend.(device.Packer); ok {
		parts = append(parts, clip.MemoryPart{Name: "packed weights", Bytes: b.Packed()})
	}
	if b, ok := backend.(device.MemoryCounter); ok {
		other := b.Allocated()
		for _, p := range parts {
			other -= p.Bytes
		}
		parts = append(parts, clip.MemoryPart{Name: "other", Bytes: max(0, other)})
	}
	return parts
}

// OnHeap returns how many bytes of a backend's memory lie on Go's heap: all of the pure Go backend's, none of others'.
func OnHeap(backend device.Backend) int64 {
	if b, ok := backend.(device.HeapUser); ok {
		return b.OnHeap()
	}
	return 0
}

// Size returns the bytes of a buffer when Real is float32; 0 of none.
func Size(b device.Buffer) int64 {
	if b == nil {
		return 0
	}
	return int64(b.Len()) * int64(b.DType().Size())
}
