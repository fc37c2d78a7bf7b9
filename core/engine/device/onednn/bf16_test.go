//go:build onednn

package onednn

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// Where the processor multiplies bfloat16, products of every shape do; elsewhere they are float32
// products of rounded operands (which TestNarrowInstructionSetsMatchTheReference compares).
func TestBF16UsesTheProcessors(t *testing.T) {
	native := open(t, 1).(*Backend)
	t.Setenv("TANDEM_ISA", "avx2")
	rounded := open(t, 1).(*Backend)
	if rounded.be.bf16 != 0 {
		t.Error("bfloat16 products are used under TANDEM_ISA=avx2")
	}
	conv := device.Conv2D{B: 2, H: 14, W: 14, InC: 32, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1, BF16: true}
	for _, k := range []device.Kernel{
		device.MatMul{Batch: 1, M: 64, N: 96, K: 32, TransB: true, Bias: true, Act: device.GELU, Weights: true, BF16: true},
		device.MatMul{Batch: 1, M: 64, N: 96, K: 32, TransA: true, BF16: true},
		device.MatMul{Batch: 4, M: 64, N: 96, K: 32, BF16: true},
		device.ConvForward{Conv2D: conv}, device.ConvBackData{Conv2D: conv}, device.ConvBackWeights{Conv2D: conv},
	} {
		for _, b := range []*Backend{native, rounded} {
			exec, err := b.Prepare(k)
			if err != nil {
				t.Fatal(err)
			}
			if name := Implementation(exec); strings.Contains(name, "bf16") != (b.be.bf16 != 0) {
				t.Errorf("%T%+v on %s (bfloat16: %d) is %s", k, k, b.Name(), b.be.bf16, name)
			}
		}
	}
}

// Copies of operands in bfloat16 are kept between products; every way to write an operand must reach
// the next one.
func TestBF16CopiesFollowTheirMemory(t *testing.T) {
	for _, isa := range []string{"avx512", "avx2"} {
		t.Setenv("TANDEM_ISA", isa)
		devicetest.CopiesInBF16(t, open(t, 2))
	}
}

func TestHalfArgumentsGiveTheBitsOfRealOnes(t *testing.T) {
	everyISA(t, 3, func(t *testing.T, b device.Backend) {
		trials := slices.Concat(devicetest.Trials(), devicetest.Random(2, 600))
		for i := range trials {
			trials[i].Kernel = device.WithBF16(trials[i].Kernel)
		}
		devicetest.Halves(t, b, trials, device.LayerNorm{}, device.Patchify{}, device.Attention{}, device.AttentionAt{},
			device.MatMul{}, device.ConvForward{}, device.ConvBackData{}, device.ConvBackWeights{})
	})
}
