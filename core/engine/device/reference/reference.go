// Package reference is the backend in pure Go: always there, and the reference that the others are tested
// against. It is generic over the floating type: float32 trains, float64 serves finite differences.
//
// Every result is the same for every thread count, except weight gradients of convolutions and
// reductions over all elements, which are the same for the same thread count.
package reference

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Float constrains the floating type behind device.Real.
type Float interface{ float32 | float64 }

// Backend computes in Go on T. Its methods are for one goroutine at a time.
type Backend[T Float] struct {
	threads int
	live    int64  // bytes allocated and not freed
	rounded [2][]T // the inputs of a product in bfloat16
	wide    [][]T  // the arguments of a kernel that are Half

	autocasts bool
}

var (
	_ device.Backend       = (*Backend[float32])(nil)
	_ device.BF16Emulator  = (*Backend[float32])(nil)
	_ device.Autocaster    = (*Backend[float32])(nil)
	_ device.Fuser         = (*Backend[float32])(nil)
	_ device.MemoryCounter = (*Backend[float32])(nil)
	_ device.HeapUser      = (*Backend[float32])(nil)
	_ device.HostViewer    = (*Backend[float32])(nil)
	_ device.WideReal      = (*Backend[float32])(nil)
)

// New makes a backend that works with up to threads goroutines; under one is one.
func New[T Float](threads int) *Backend[T] {
	return &Backend[T]{threads: max(threads, 1)}
}

// buffer holds host memory in the slice of its dtype.
type buffer[T Float] struct {
	f     []T
	u     []uint8
	i     []int32
	h     []uint16
	dtype device.DType
	view  bool
}

func (b *buffer[T]) DType() device.DType { return b.dtype }

func (b *buffer[T]) Len() int {
	switch b.dtype {
	case device.U8:
		return len(b.u)
	case device.I32:
		return len(b.i)
	case device.Half:
		return len(b.h)
	}
	return len(b.f)
}

// Name returns "go float32 (2 threads)".
func (b *Backend[T]) Name() string {
	var zero T
	return fmt.Sprintf("go %T (%d threads)", zero, b.threads)
}

// Alloc gives zeroed memory aligned to 64 bytes. A negative n is fault.Invalid.
func (b *Backend[T]) Alloc(dtype device.DType, n int) (device.Buffer, error) {
	if n < 0 {
		return nil, fault.New(fault.Invalid, "cannot allocate %d elements", n)
	}
	buf := &buffer[T]{dtype: dtype}
	switch dtype {
	case device.Real:
		buf.f = makeAligned[T](n)
	case device.U8:
		buf.u = makeAligned[uint8](n)
	case device.I32:
		buf.i = makeAligned[int32](n)
	case device.Half:
		buf.h = makeAligned[uint16](n)
	default:
		return nil, fault.New(fault.Invalid, "unknown dtype %d", dtype)
	}
	b.live += buf.bytes()
	return buf, nil
}

// makeAligned makes a []E of length n on a cache line, so that threads that own neighbouring parts of a buffer
// do not share one.
func makeAligned[E any](n int) []E {
	var e E
	slack := 64 / int(unsafe.Sizeof(e))
	s := make([]E, n+slack)
	off := 0
	if n > 0 {
		off = int(-uintptr(unsafe.Pointer(&s[0]))%64) / int(unsafe.Sizeof(e))
	}
	return s[off : off+n : off+n]
}

func (b *buffer[T]) bytes() int64 {
	var t T
	return int64(len(b.f))*int64(unsafe.Sizeof(t)) + int64(len(b.u)) + int64(len(b.i))*4 + int64(len(b.h))*2
}

// Free forgets the memory; the garbage collector takes it once no view is left.
func (b *Backend[T]) Free(x device.Buffer) {
	if buf := b.asBuffer(x); !buf.view {
		b.live -= buf.bytes()
		buf.f, buf.u, buf.i, buf.h = nil, nil, nil, nil
	}
}

// Allocated returns the bytes allocated and not freed.
func (b *Backend[T]) Allocated() int64 { return b.live }

// OnHeap returns the same: all of it lies on Go's heap.
func (b *Backend[T]) OnHeap() int64 { return b.live }

// View returns elements [off, off+n) of a buffer.
func (b *Backend[T]) View(x device.Buffer, off, n int) device.Buffer {
	buf := b.asBuffer(x)
	if off < 0 || n < 0 || off+n > buf.Len() {
		panic(fmt.Sprintf("device/host: view [%d, %d) is outside a buffer of %d", off, off+n, buf.Len()))
	}
	v := &buffer[T]{dtype: buf.dtype, view: true}
	switch buf.dtype {
	case device.U8:
		v.u = buf.u[off : off+n : off+n]
	case device.I32:
		v.i = buf.i[off : off+n : off+n]
	case device.Half:
		v.h = buf.h[off : off+n : off+n]
	default:
		v.f = buf.f[off : off+n : off+n]
	}
	return v
}

// ViewHost implements device.HostViewer.
func (b *Backend[T]) ViewHost(values []float32) device.Buffer {
	if f, ok := any(values).([]T); ok {
		return &buffer[T]{f: f, dtype: device.Real, view: true}
	}
	return nil
}

func (b *Backend[T]) asBuffer(x device.Buffer) *buffer[T] {
	buf, ok := x.(*buffer[T])
	if !ok {
		panic(fmt.Sprintf("device/host: %T is not a buffer of %s", x, b.Name()))
	}
	return buf
}

// Write copies host values in; Real takes []float32 and []float64, which it converts.
func (b *Backend[T]) Write(dst device.Buffer, values any) {
	buf := b.asBuffer(dst)
	switch v := values.(type) {
	case []float32:
		convert(buf.real(len(v)), v)
	case []float64:
		convert(buf.real(len(v)), v)
	case []uint8:
		buf.check(device.U8, len(v))
		copy(buf.u, v)
	case []int32:
		buf.check(device.I32, len(v))
		copy(buf.i, v)
	case []uint16:
		buf.check(device.Half, len(v))
		copy(buf.h, v)
	default:
		panic(fmt.Sprintf("device/host: cannot write %T", values))
	}
}

// Read copies a buffer out; Real is read into []float32 or []float64.
func (b *Backend[T]) Read(values any, src device.Buffer) {
	buf := b.asBuffer(src)
	switch v := values.(type) {
	case []float32:
		convert(v, buf.real(len(v)))
	case []float64:
		convert(v, buf.real(len(v)))
	case []uint8:
		buf.check(device.U8, len(v))
		copy(v, buf.u)
	case []int32:
		buf.check(device.I32, len(v))
		copy(v, buf.i)
	case []uint16:
		buf.check(device.Half, len(v))
		copy(v, buf.h)
	default:
		panic(fmt.Sprintf("device/host: cannot read into %T", values))
	}
}

func convert[A, B Float](dst []A, src []B) {
	for i, v := range src {
		dst[i] = A(v)
	}
}

func (b *buffer[T]) real(n int) []T {
	b.check(device.Real, n)
	return b.f
}

func (b *buffer[T]) check(dtype device.DType, n int) {
	if b.dtype != dtype || b.Len() != n {
		panic(fmt.Sprintf("device/host: buffer is %v[%d], values are %v[%d]", b.dtype, b.Len(), dtype, n))
	}
}

// Copy copies dst ← src.
func (b *Backend[T]) Copy(dst, src device.Buffer) {
	d, s := b.asBuffer(dst), b.asBuffer(src)
	d.check(s.dtype, s.Len())
	copy(d.f, s.f)
	copy(d.u, s.u)
	copy(d.i, s.i)
	copy(d.h, s.h)
}

// Zero clears a buffer.
func (b *Backend[T]) Zero(x device.Buffer) {
	buf := b.asBuffer(x)
	clear(buf.f)
	clear(buf.u)
	clear(buf.i)
	clear(buf.h)
}

// IsWide reports whether Real is float64.
func (b *Backend[T]) IsWide() bool { return unsafe.Sizeof(T(0)) == 8 }

// ParamsChanged does nothing: the backend keeps no packed copies.
func (b *Backend[T]) ParamsChanged() {}

// Close does nothing: the garbage collector frees.
func (b *Backend[T]) Close() error { return nil }
