package reference

import (
	"fmt"
	"math"
	"unsafe"

	"tandem/core/engine/device"
)

// NewAutocasting makes a backend like New that is a device.Autocaster: the reference for what others compute on Half.
// It saves no time.
func NewAutocasting[T Float](threads int) *Backend[T] {
	b := New[T](threads)
	b.autocasts = true
	return b
}

// Autocasts implements device.Autocaster.
func (b *Backend[T]) Autocasts() bool { return b.autocasts }

// Halves implements device.Halver: all that kernels allow where the backend autocasts, else nothing.
func (b *Backend[T]) Halves(k device.Kernel) device.Places {
	if !b.autocasts {
		return 0
	}
	d, _ := device.Describe(k)
	return d.Half
}

// Fuses implements device.Fuser: there is no kernel that this backend lacks.
func (b *Backend[T]) Fuses(device.Kernel) bool { return true }

// HalfView implements device.Halver.
func (b *Backend[T]) HalfView(x device.Buffer, off, n int) device.Buffer {
	buf := b.asBuffer(x)
	end := off + device.HalfRoom(n)
	if buf.dtype != device.Real || off < 0 || n < 0 || end > buf.Len() {
		panic(fmt.Sprintf("device/host: view [%d, %d) of half is outside a buffer of %v[%d]", off, end, buf.dtype, buf.Len()))
	}
	v := &buffer[T]{dtype: device.Half, view: true}
	if n > 0 {
		v.h = unsafe.Slice((*uint16)(unsafe.Pointer(&buf.f[off])), n)
	}
	return v
}

// onHalf returns the code of a Halved: the kernel on copies of what is Half, whose outputs are rounded.
func (b *Backend[T]) onHalf(k device.Halved, want []device.Arg) func(args[T], scalars) {
	run := b.runner(k.Kernel)
	bound := make(args[T], len(want))
	return func(a args[T], s scalars) {
		if len(b.wide) < len(want) {
			b.wide = append(b.wide, make([][]T, len(want)-len(b.wide))...)
		}
		for i, x := range a {
			bound[i] = x
			if !k.In.Has(i) {
				continue
			}
			n := len(x.h)
			if cap(b.wide[i]) < n {
				b.wide[i] = makeAligned[T](n)
			}
			wide := b.wide[i][:n]
			bound[i] = &buffer[T]{f: wide, dtype: device.Real}
			if !want[i].Out {
				b.split(n, 1, func(_, lo, hi int) {
					for j := lo; j < hi; j++ {
						wide[j] = T(math.Float32frombits(uint32(x.h[j]) << 16))
					}
				})
			}
		}
		run(bound, s)
		for i, x := range a {
			if !k.In.Has(i) || !want[i].Out {
				continue
			}
			wide := bound[i].f
			b.split(len(wide), 4, func(_, lo, hi int) {
				for j := lo; j < hi; j++ {
					x.h[j] = uint16(math.Float32bits(device.RoundBF16(float32(wide[j]))) >> 16)
				}
			})
		}
	}
}
