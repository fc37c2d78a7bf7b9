//go:build onednn

package onednn

import (
	"strings"
	"testing"

	"tandem/core/device"
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
		b := open(t, 2)
		const n = 64 * 64
		prepare := func(k device.Kernel) device.Exec {
			t.Helper()
			exec, err := b.Prepare(k)
			if err != nil {
				t.Fatal(err)
			}
			return exec
		}
		alloc := func(v float32) device.Buffer {
			t.Helper()
			buf, err := b.Alloc(device.Real, n)
			if err != nil {
				t.Fatal(err)
			}
			values := make([]float32, n)
			for i := range values {
				values[i] = v
			}
			b.Write(buf, values)
			return buf
		}
		product := prepare(device.MatMul{Batch: 1, M: 64, N: 64, K: 64, BF16: true})
		weighted := prepare(device.MatMul{Batch: 1, M: 64, N: 64, K: 64, Weights: true, BF16: true})
		exact := prepare(device.MatMul{Batch: 1, M: 64, N: 64, K: 64, Weights: true})
		scale := prepare(device.Scale{N: n})
		x, y, two, out := alloc(1), alloc(1), alloc(2), alloc(0)
		expect := func(when string, exec device.Exec, want float32) {
			t.Helper()
			exec.Run([]device.Buffer{x, y, nil, nil, out})
			got := make([]float32, n)
			b.Read(got, out)
			if got[0] != want || got[n-1] != want {
				t.Errorf("%s, %s: product is %g, want %g", b.Name(), when, got[0], want)
			}
		}
		expect("at first", product, 64)
		expect("again", product, 64)
		b.Copy(x, two)
		expect("after Copy", product, 128)
		scale.Run([]device.Buffer{y, y}, 3, 0)
		expect("after a kernel in place", product, 384)
		b.Write(b.View(x, 0, n), make([]float32, n))
		expect("after Write through a view", product, 0)
		b.Copy(x, two)
		b.ParamsChanged()
		expect("with parameters", weighted, 384)
		scale.Run([]device.Buffer{y, y}, 0, 1.00390625) // halfway to the next bfloat16: rounds to 1
		b.ParamsChanged()
		expect("with changed parameters", weighted, 128)
		expect("with changed parameters, exact", exact, 128.5)
		expect("with changed parameters, rounded again", weighted, 128)
		b.Free(x)
		x = alloc(5)
		expect("other memory", product, 320)
	}
}
