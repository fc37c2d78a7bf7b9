//go:build onednn

package onednn

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
)

var _ device.Halver = (*Backend)(nil)

// Halves are operands of products in bfloat16 that are no parameters, and what norms, attention, activations
// with a slope and patches give.
func (b *Backend) Halves(kernel device.Kernel) device.Places {
	switch k := kernel.(type) {
	case device.LayerNorm:
		return device.At(3)
	case device.Patchify:
		return device.At(1)
	case device.Attention, device.AttentionAt:
		args, err := device.Signature(kernel)
		if err != nil {
			return 0
		}
		return device.At(len(args) - 1)
	case device.MatMul:
		places := device.RoundedBF16(k)
		if k.Weights {
			places &^= device.At(1) // the move to oneDNN's layout rounds it
		}
		if k.BF16 && k.Slope {
			places |= device.At(4) // the product is written where the slope goes
		}
		return places
	case device.ConvForward:
		return device.RoundedBF16(k) & device.At(0)
	case device.ConvBackData:
		return device.RoundedBF16(k) & device.At(1)
	case device.ConvBackWeights:
		return device.RoundedBF16(k)
	}
	return 0
}

// EmulatesBF16 is true without AVX512_BF16.
func (b *Backend) EmulatesBF16() bool { return b.be.bf16 == 0 }

// HalfView is n elements of bfloat16 from element off of a buffer of float32.
func (b *Backend) HalfView(x device.Buffer, off, n int) device.Buffer {
	buf := own(x)
	if buf.dtype != device.Real || off < 0 || n < 0 || off+device.HalfRoom(n) > buf.n {
		panic(fmt.Sprintf("device/onednn: view [%d, %d) of half is outside a buffer of %v[%d]", off, off+device.HalfRoom(n), buf.dtype, buf.n))
	}
	return &buffer{at: unsafe.Add(buf.at, 4*off), n: n, dtype: device.Half, view: true}
}
