package reference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
)

// TestFloat32MatchesFloat64 covers the paths of their own that float32 has: the product in assembly,
// with every kind of edge, and the activations.
func TestFloat32MatchesFloat64(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 13))
	var kernels []device.Kernel
	for _, s := range [][3]int{{1, 1, 1}, {6, 16, 8}, {7, 17, 3}, {100, 50, 257}, {5, 1100, 20}, {131, 33, 600}} {
		for bits := range 4 {
			kernels = append(kernels, device.MatMul{Batch: 1, M: s[0], N: s[1], K: s[2], TransA: bits&1 != 0, TransB: bits&2 != 0})
		}
	}
	a := device.Attention{B: 2, Tq: 17, Tk: 17, Heads: 3, HeadDim: 20, Packed: true, Causal: true}
	c := device.Conv2D{B: 3, H: 9, W: 8, InC: 5, OutC: 7, KH: 3, KW: 3, Stride: 2, Pad: 1}
	kernels = append(kernels, a, device.AttentionBack(a), device.ConvForward{Conv2D: c}, device.ConvBackData{Conv2D: c},
		device.ConvBackWeights{Conv2D: c})
	for act := device.Identity; act <= device.TanhGELU; act++ {
		kernels = append(kernels, device.Act{N: 999, Act: act}, device.ActBack{N: 999, Act: act})
	}
	for _, k := range kernels {
		want, err := device.Signature(k)
		if err != nil {
			t.Fatal(err)
		}
		inputs := make([][]float32, len(want))
		for i, arg := range want {
			if arg.Absent {
				continue
			}
			for range arg.Len {
				inputs[i] = append(inputs[i], float32(rng.NormFloat64()))
			}
		}
		single, double := outputs(t, New[float32](3), k, want, inputs), outputs(t, New[float64](3), k, want, inputs)
		for o := range double {
			var scale float64
			for _, v := range double[o] {
				scale = max(scale, math.Abs(v))
			}
			for i, v := range double[o] {
				if d := math.Abs(single[o][i] - v); !(d <= 3e-6*scale) {
					t.Fatalf("%T%+v: output %d[%d] is %g, want %g", k, k, o, i, single[o][i], v)
				}
			}
		}
	}
}

func outputs(t *testing.T, b device.Backend, k device.Kernel, want []device.Arg, inputs [][]float32) [][]float64 {
	t.Helper()
	exec, err := b.Prepare(k)
	if err != nil {
		t.Fatal(err)
	}
	bufs := make([]device.Buffer, len(want))
	for i, in := range inputs {
		if in != nil {
			bufs[i], _ = b.Alloc(device.Real, len(in))
			b.Write(bufs[i], in)
		}
	}
	exec.Run(bufs)
	var outs [][]float64
	for i, arg := range want {
		if arg.Out {
			outs = append(outs, make([]float64, arg.Len))
			b.Read(outs[len(outs)-1], bufs[i])
		}
	}
	return outs
}

func TestFloat32ActivationsAtExtremes(t *testing.T) {
	for _, x := range []float32{0, 1e-30, -1e-30, 1e-8, 3, -3, 5.5, -5.5, -9, 12, 50, -50, 88, -88, 1e4, -1e4, 1e30, -1e30,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
		for act := device.Identity; act <= device.TanhGELU; act++ {
			f32, d32 := activation[float32](act)
			f64, d64 := activation[float64](act)
			for name, pair := range map[string][2]float64{
				"value": {float64(f32(x)), f64(float64(x))}, "derivative": {float64(d32(x)), d64(float64(x))},
			} {
				got, want := pair[0], pair[1]
				same := got == want || math.IsNaN(got) && math.IsNaN(want)
				if !same && !(math.Abs(got-want) <= 2e-6*math.Abs(want)+1e-12) {
					t.Errorf("activation %d: %s at %g is %g, want %g", act, name, x, got, want)
				}
			}
		}
	}
}

func BenchmarkFloat32(b *testing.B) {
	be := New[float32](2)
	for _, k := range []device.Kernel{
		device.MatMul{Batch: 1, M: 2176, N: 384, K: 128, TransB: true, Bias: true},
		device.MatMul{Batch: 1, M: 512, N: 128, K: 2176, TransA: true},
		device.Act{N: 2176 * 512, Act: device.GELU},
		device.ActBack{N: 2176 * 512, Act: device.GELU},
		device.LayerNorm{Rows: 2176, Cols: 128, Eps: 1e-5},
		device.LayerNormBack{Rows: 2176, Cols: 128, Eps: 1e-5},
		device.Attention{B: 128, Tq: 17, Tk: 17, Heads: 2, HeadDim: 64, Packed: true},
		device.AttentionBack{B: 128, Tq: 17, Tk: 17, Heads: 2, HeadDim: 64, Packed: true},
		device.AdamW{N: 1 << 20, Beta1: .9, Beta2: .98, Eps: 1e-6},
	} {
		want, _ := device.Signature(k)
		exec, err := be.Prepare(k)
		if err != nil {
			b.Fatal(err)
		}
		bufs := make([]device.Buffer, len(want))
		for i, arg := range want {
			if !arg.Absent {
				bufs[i], _ = be.Alloc(arg.DType, arg.Len)
				x := make([]float32, arg.Len)
				for j := range x {
					x[j] = float32(j%11-5) / 4
				}
				be.Write(bufs[i], x)
			}
		}
		b.Run(fmt.Sprintf("%T", k)[len("device."):], func(b *testing.B) {
			for b.Loop() {
				exec.Run(bufs, 1e-3, .1, 1, 1)
			}
		})
	}
}
