//go:build onednn

package onednn

// #include "td.h"
import "C"

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
)

// Halves returns what products in bfloat16 need, without parameters: the move to oneDNN's layout rounds those. All other
// values stay float32, as caches make them cheap to read here, and so do the maps between convolutions.
func (b *Backend) Halves(kernel device.Kernel) device.Places {
	switch kernel.(type) {
	case device.BatchNorm, device.BatchNormBack, device.AvgPool, device.AvgPoolBack:
		return 0
	}
	d, _ := device.Describe(kernel)
	return d.Operands &^ d.Weights
}

// EmulatesBF16 reports whether the processor lacks AVX512_BF16.
func (b *Backend) EmulatesBF16() bool { return b.be.bf16 == 0 }

// Fuses implements device.Fuser: gradients of layer norm with a residual, and row sums in products of our own, which copy the
// operand whose rows are summed.
func (b *Backend) Fuses(kernel device.Kernel) bool {
	switch k := kernel.(type) {
	case device.LayerNormBack:
		return true
	case device.MatMul:
		var n [C.TD_INTS]C.long
		fillProduct(n[:], k)
		return !k.BF16 && !k.Slope && C.td_own(b.be, &n[0]) != 0
	}
	return false
}

// HalfView views n elements of bfloat16 from element off of a buffer of float32.
func (b *Backend) HalfView(x device.Buffer, off, n int) device.Buffer {
	buf := asBuffer(x)
	if buf.dtype != device.Real || off < 0 || n < 0 || off+device.HalfRoom(n) > buf.n {
		panic(fmt.Sprintf("device/onednn: view [%d, %d) of half is outside a buffer of %v[%d]", off, off+device.HalfRoom(n), buf.dtype, buf.n))
	}
	return &buffer{at: unsafe.Add(buf.at, 4*off), n: n, dtype: device.Half, view: true}
}
