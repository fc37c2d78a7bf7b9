//go:build onednn

package onednn

/*
#cgo CFLAGS: -O2 -fopenmp
#cgo LDFLAGS: -ldnnl -lgomp -lm
#cgo nocallback td_run
#cgo noescape td_run
#include <stdlib.h>
#include "td.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Backend computes with oneDNN on float32. Its methods are for one goroutine at a time.
type Backend struct {
	be      *C.td_backend
	threads int
	live    map[*buffer]struct{}
	execs   map[*exec]struct{}
	bytes   int64
}

var (
	_ device.Backend       = (*Backend)(nil)
	_ device.Halver        = (*Backend)(nil)
	_ device.BF16Emulator  = (*Backend)(nil)
	_ device.MemoryCounter = (*Backend)(nil)
	_ device.Fuser         = (*Backend)(nil)
	_ device.Packer        = (*Backend)(nil)
	_ device.HostViewer    = (*Backend)(nil)
)

// buffer holds C's memory. Views share at and are not in live.
type buffer struct {
	at    unsafe.Pointer
	n     int
	dtype device.DType
	view  bool
}

func (b *buffer) DType() device.DType { return b.dtype }
func (b *buffer) Len() int            { return b.n }
func (b *buffer) size() int           { return b.n * b.dtype.Size() }

// New makes a backend that works with that many threads; under one is one. fault.Unavailable when
// oneDNN has no engine for this processor.
func New(threads int) (device.Backend, error) {
	threads = max(threads, 1)
	text := (*C.char)(C.calloc(1, 256))
	defer C.free(unsafe.Pointer(text))
	be := C.td_open(C.int(threads), text, 256)
	if be == nil {
		return nil, fault.New(fault.Unavailable, "onednn: %s", C.GoString(text)).WithHint("use device: host")
	}
	return &Backend{be: be, threads: threads, live: map[*buffer]struct{}{}, execs: map[*exec]struct{}{}}, nil
}

// Version returns the version of the oneDNN library that is loaded: "2.6.3".
func Version() string {
	v := C.dnnl_version()
	return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
}

// Name returns "onednn 2.6.3, avx512 (2 threads)"; the middle says which kernels of our own run.
func (b *Backend) Name() string {
	return fmt.Sprintf("onednn %s, %s (%d threads)", Version(), C.GoString(b.be.isa), b.threads)
}

// Alloc gives zeroed memory, aligned to 64 bytes and from 2 MiB on to huge pages. fault.Exhausted
// when the system has none.
func (b *Backend) Alloc(dtype device.DType, n int) (device.Buffer, error) {
	if n < 0 || dtype > device.Half {
		return nil, fault.New(fault.Invalid, "cannot allocate %d elements of dtype %d", n, dtype)
	}
	buf := &buffer{n: n, dtype: dtype}
	if buf.at = C.td_alloc(C.size_t(buf.size())); buf.at == nil {
		return nil, fault.New(fault.Exhausted, "no memory for %d MiB, with %d MiB in use", buf.size()>>20, b.bytes>>20).
			WithHint("make the batch smaller")
	}
	b.live[buf] = struct{}{}
	b.bytes += int64(buf.size())
	return buf, nil
}

// Free gives memory back, with packed copies of parameters in it.
func (b *Backend) Free(x device.Buffer) {
	buf := asBuffer(x)
	if _, ok := b.live[buf]; !ok {
		return
	}
	delete(b.live, buf)
	b.forgetRounded(buf)
	b.bytes -= int64(buf.size())
	C.td_touched(b.be, C.uintptr_t(uintptr(buf.at)), C.size_t(buf.size()), 1)
	C.td_free(buf.at, C.size_t(buf.size()))
	buf.at, buf.n = nil, 0
}

// Allocated returns the bytes that the C side of this process has from the system, rounded up as it is: buffers, packed
// copies of parameters, scratch and primitives.
func (b *Backend) Allocated() int64 { return max(b.bytes+int64(b.be.packed), int64(C.td_allocated())) }

// Packed returns the bytes of packed copies of parameters.
func (b *Backend) Packed() int64 { return int64(b.be.packed) }

func asBuffer(x device.Buffer) *buffer {
	buf, ok := x.(*buffer)
	if !ok {
		panic(fmt.Sprintf("device/onednn: %T is not a buffer of this backend", x))
	}
	return buf
}

// View returns elements [off, off+n) of a buffer.
func (b *Backend) View(x device.Buffer, off, n int) device.Buffer {
	buf := asBuffer(x)
	if off < 0 || n < 0 || off+n > buf.n {
		panic(fmt.Sprintf("device/onednn: view [%d, %d) is outside a buffer of %d", off, off+n, buf.n))
	}
	return &buffer{at: unsafe.Add(buf.at, off*buf.dtype.Size()), n: n, dtype: buf.dtype, view: true}
}

// ViewHost implements device.HostViewer.
func (b *Backend) ViewHost(values []float32) device.Buffer {
	return &buffer{at: unsafe.Pointer(unsafe.SliceData(values)), n: len(values), dtype: device.Real, view: true}
}

// Write copies host values in.
func (b *Backend) Write(dst device.Buffer, values any) {
	buf := asBuffer(dst)
	switch v := values.(type) {
	case []float32:
		copy(asSlice[float32](buf, device.Real, len(v)), v)
	case []uint8:
		copy(asSlice[uint8](buf, device.U8, len(v)), v)
	case []int32:
		copy(asSlice[int32](buf, device.I32, len(v)), v)
	case []uint16:
		copy(asSlice[uint16](buf, device.Half, len(v)), v)
	default:
		panic(fmt.Sprintf("device/onednn: cannot write %T", values))
	}
	b.markStale(buf)
}

// Read copies a buffer out.
func (b *Backend) Read(values any, src device.Buffer) {
	buf := asBuffer(src)
	switch v := values.(type) {
	case []float32:
		copy(v, asSlice[float32](buf, device.Real, len(v)))
	case []uint8:
		copy(v, asSlice[uint8](buf, device.U8, len(v)))
	case []int32:
		copy(v, asSlice[int32](buf, device.I32, len(v)))
	case []uint16:
		copy(v, asSlice[uint16](buf, device.Half, len(v)))
	default:
		panic(fmt.Sprintf("device/onednn: cannot read into %T", values))
	}
}

// asSlice shows a buffer to Go. It panics when dtype or length differ.
func asSlice[E any](buf *buffer, dtype device.DType, n int) []E {
	if buf.dtype != dtype || buf.n != n {
		panic(fmt.Sprintf("device/onednn: buffer is %v[%d], values are %v[%d]", buf.dtype, buf.n, dtype, n))
	}
	return unsafe.Slice((*E)(buf.at), n)
}

// Copy copies dst ← src.
func (b *Backend) Copy(dst, src device.Buffer) {
	d, s := asBuffer(dst), asBuffer(src)
	if d.dtype != s.dtype || d.n != s.n {
		panic(fmt.Sprintf("device/onednn: cannot copy %v[%d] to %v[%d]", s.dtype, s.n, d.dtype, d.n))
	}
	copy(unsafe.Slice((*byte)(d.at), d.size()), unsafe.Slice((*byte)(s.at), s.size()))
	b.markStale(d)
}

// Zero clears a buffer.
func (b *Backend) Zero(x device.Buffer) {
	buf := asBuffer(x)
	clear(unsafe.Slice((*byte)(buf.at), buf.size()))
	b.markStale(buf)
}

// markStale makes packed copies of what was written stale, so that forgetting ParamsChanged after a
// Write does no harm.
func (b *Backend) markStale(buf *buffer) {
	b.forgetRounded(buf)
	if b.be.packs != nil {
		C.td_touched(b.be, C.uintptr_t(uintptr(buf.at)), C.size_t(buf.size()), 0)
	}
}

// forgetRounded forgets bfloat16 copies of operands in memory that was written.
func (b *Backend) forgetRounded(buf *buffer) {
	at, size := C.uintptr_t(uintptr(buf.at)), C.uintptr_t(buf.size())
	for i := range b.be.half {
		if h := &b.be.half[i]; h.from < at+size && at < h.from+C.uintptr_t(4*h.n) {
			h.from = 0
		}
	}
}

// ParamsChanged makes all packed copies of parameters stale; optimiser kernels do so by themselves.
func (b *Backend) ParamsChanged() {
	b.be.generation++
	b.be.half[0].from, b.be.half[1].from = 0, 0
}

// Close frees all buffers and Execs, which must not be used afterwards.
func (b *Backend) Close() error {
	if b.be == nil {
		return nil
	}
	for x := range b.execs {
		x.Release()
	}
	for buf := range b.live {
		b.Free(buf)
	}
	C.td_close(b.be)
	b.be = nil
	return nil
}
