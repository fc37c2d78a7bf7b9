// Package device is the contract between the engine (core/engine/graph, core/engine/optim) and what computes: a
// Backend holds memory and turns a Kernel, a description of one operation with its shapes, into an
// Exec that runs it on buffers. The package knows nothing of graphs, layers or CLIP.
//
// Sub-packages implement it: reference is pure Go, generic over float32 and float64, always there and the
// one that the others are tested against; onednn is cgo on oneDNN; cuda is gorgonia.org/cu.
//
// # Conventions
//
// Arrays are dense and row-major. Pictures and feature maps are NHWC; convolution weights are
// [out, in, kh, kw] as in published checkpoints. Linear weights are [out, in]. "Real" is the
// backend's floating type: float32 everywhere but on the host backend made for finite differences.
// A backend runs one Exec at a time and calls come from one goroutine. All results are deterministic
// for the same backend, machine and thread count: reductions have a fixed order.
package device

// DType names the element type of a buffer.
type DType uint8

// The element types of buffers.
const (
	Real DType = iota // float32 (float64 on the finite-difference backend)
	U8
	I32
	Half // bfloat16 in two bytes, of backends that are a Halver
)

// String returns the dtype's name.
func (d DType) String() string {
	switch d {
	case Real:
		return "real"
	case U8:
		return "u8"
	case I32:
		return "i32"
	case Half:
		return "half"
	}
	return "unknown"
}

// Size returns the bytes of one element when Real is float32.
func (d DType) Size() int {
	switch d {
	case U8:
		return 1
	case Half:
		return 2
	}
	return 4
}

// Buffer holds n elements of a dtype in device memory. Only the backend that made it can use it.
type Buffer interface {
	DType() DType
	Len() int
}

// Backend computes.
type Backend interface {
	// Name tells what computes, for people and the database: "onednn 2.6.3 (2 threads)".
	Name() string
	// Alloc returns zeroed memory aligned to 64 bytes; fault.Exhausted when there is none.
	Alloc(dtype DType, n int) (Buffer, error)
	// Free gives memory back; its views must not be used any more. Freeing a view does nothing.
	Free(Buffer)
	// View returns elements [off, off+n) of a buffer, sharing memory. It panics out of range.
	View(b Buffer, off, n int) Buffer
	// Write copies host values in: []float32 to Real, []uint8 to U8, []int32 to I32, and where Alloc knows
	// Half []uint16, the upper bits of float32, to it. It panics when type or length differ.
	Write(dst Buffer, values any)
	// Read copies a buffer out to a slice of the same length, of the type that Write takes.
	Read(values any, src Buffer)
	// Copy copies dst ← src of equal dtype and length.
	Copy(dst, src Buffer)
	// Zero clears a buffer.
	Zero(Buffer)
	// Prepare makes an Exec for a kernel and does once all that depends on shapes. An impossible
	// kernel is fault.Invalid, one that the backend lacks fault.Unavailable.
	Prepare(Kernel) (Exec, error)
	// ParamsChanged tells the backend that parameter buffers were written: packed copies of weights are stale.
	ParamsChanged()
	// Close frees everything.
	Close() error
}

// Exec runs a prepared kernel.
type Exec interface {
	// Run computes on buffers in the order that the kernel documents; an argument that a kernel says
	// is optional may be nil. Outputs may not overlap inputs unless the kernel allows it. scalars are
	// the kernel's run-time numbers. Lengths and dtypes are the caller's duty: the host backend checks
	// them and panics, others need not.
	Run(args []Buffer, scalars ...float64)
}

// Releaser is implemented by an Exec that has memory of its own to free.
type Releaser interface{ Release() }
