package reference

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
)

// A kernel in bfloat16 is the plain kernel on rounded inputs, to the bit, and leaves its inputs alone;
// bias and residual are not rounded.
func TestBF16IsTheProductOfRoundedInputs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	c := device.Conv2D{B: 3, H: 9, W: 8, InC: 5, OutC: 7, KH: 3, KW: 3, Stride: 2, Pad: 1}
	b := New[float32](3)
	for _, k := range []device.Kernel{
		device.MatMul{Batch: 1, M: 130, N: 70, K: 65, TransB: true, Bias: true, Act: device.GELU, Slope: true, Weights: true},
		device.MatMul{Batch: 3, M: 5, N: 7, K: 9, TransA: true, Residual: true},
		device.ConvForward{Conv2D: c}, device.ConvBackData{Conv2D: c}, device.ConvBackWeights{Conv2D: c},
	} {
		want, err := device.Signature(k)
		if err != nil {
			t.Fatal(err)
		}
		exact, rounded := make([][]float32, len(want)), make([][]float32, len(want))
		for i, arg := range want {
			if arg.Absent {
				continue
			}
			for range arg.Len {
				exact[i] = append(exact[i], float32(rng.NormFloat64()))
			}
			rounded[i] = slices.Clone(exact[i])
			if i < 2 {
				for j, x := range rounded[i] {
					rounded[i][j] = device.RoundBF16(x)
				}
			}
		}
		got, expected, plain := outputs(t, b, device.WithBF16(k), want, exact), outputs(t, b, k, want, rounded), outputs(t, b, k, want, exact)
		if fmt.Sprint(got) != fmt.Sprint(expected) {
			t.Errorf("%T%+v differs from the product of rounded inputs", k, k)
		}
		if fmt.Sprint(got) == fmt.Sprint(plain) {
			t.Errorf("%T%+v rounds nothing", k, k)
		}
	}
}
