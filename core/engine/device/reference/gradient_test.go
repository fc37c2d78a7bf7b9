package reference

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
)

// lab runs kernels on float64 slices.
type lab struct {
	t *testing.T
	b *Backend[float64]
}

// run computes a kernel on inputs (any of []float64, []int32, []uint8, nil) and returns its outputs.
func (l lab) run(k device.Kernel, inputs []any, scalars ...float64) [][]float64 {
	l.t.Helper()
	want, err := device.Signature(k)
	if err != nil {
		l.t.Fatal(err)
	}
	exec, err := l.b.Prepare(k)
	if err != nil {
		l.t.Fatal(err)
	}
	var bufs, outs []device.Buffer
	for i, arg := range want {
		if arg.Absent {
			bufs = append(bufs, nil)
			continue
		}
		buf, err := l.b.Alloc(arg.DType, arg.Len)
		if err != nil {
			l.t.Fatal(err)
		}
		if i < len(inputs) {
			l.b.Write(buf, inputs[i])
		} else {
			outs = append(outs, buf)
		}
		bufs = append(bufs, buf)
	}
	exec.Run(bufs, scalars...)
	values := make([][]float64, len(outs))
	for i, out := range outs {
		values[i] = make([]float64, out.Len())
		l.b.Read(values[i], out)
	}
	return values
}

func normal(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// gradient compares a backward pass with finite differences of a forward pass: analytic returns, for each of
// wrt, the gradient of Σ weights·out.
type gradient struct {
	name     string
	forward  device.Kernel
	inputs   []any // of the forward kernel
	wrt      []int // which inputs are differentiated
	analytic func(l lab, inputs []any, out, weights []float64) [][]float64
	scalars  []float64
}

func TestBackwardKernelsMatchFiniteDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	n := func(count int) []float64 { return normal(rng, count) }
	// back calls one kernel on the forward's inputs and the weights as dy.
	back := func(k device.Kernel) func(lab, []any, []float64, []float64) [][]float64 {
		return func(l lab, in []any, _, w []float64) [][]float64 {
			return l.run(k, append(append([]any{}, in...), w))
		}
	}
	var cases []gradient
	for _, act := range []device.Activation{device.Identity, device.ReLU, device.GELU, device.QuickGELU, device.TanhGELU} {
		cases = append(cases, gradient{name: fmt.Sprint("activation ", act), forward: device.Act{N: 40, Act: act},
			inputs: []any{n(40)}, wrt: []int{0}, analytic: back(device.ActBack{N: 40, Act: act})})
	}
	cases = append(cases, gradient{name: "softplus", forward: device.Softplus{N: 30}, inputs: []any{n(30)},
		wrt: []int{0}, analytic: back(device.SoftplusBack{N: 30})})
	for _, exp := range []bool{false, true} {
		cases = append(cases, gradient{name: fmt.Sprint("scale by, exp ", exp), forward: device.ScaleBy{N: 12, Exp: exp},
			inputs: []any{n(12), n(1)}, wrt: []int{0, 1}, analytic: back(device.ScaleByBack{N: 12, Exp: exp})})
	}
	cases = append(cases,
		gradient{name: "layer norm", forward: device.LayerNorm{Rows: 5, Cols: 7, Eps: 1e-5},
			inputs: []any{n(35), n(7), n(7)}, wrt: []int{0, 1, 2},
			analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				return l.run(device.LayerNormBack{Rows: 5, Cols: 7, Eps: 1e-5}, []any{in[0], in[1], w})
			}},
		gradient{name: "layer norm with a residual", forward: device.LayerNorm{Rows: 5, Cols: 7, Eps: 1e-5},
			inputs: []any{n(35), n(7), n(7)}, wrt: []int{0, 1, 2},
			analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				residual := n(35)
				grads := l.run(device.LayerNormBack{Rows: 5, Cols: 7, Eps: 1e-5, Residual: true}, []any{in[0], in[1], w, residual})
				for i, v := range residual {
					grads[0][i] -= v
				}
				return grads
			}},
		gradient{name: "l2 norm", forward: device.L2Norm{Rows: 4, Cols: 6, Eps: 1e-12}, inputs: []any{n(24)},
			wrt: []int{0}, analytic: back(device.L2NormBack{Rows: 4, Cols: 6, Eps: 1e-12})},
		gradient{name: "l2 norm under eps", forward: device.L2Norm{Rows: 4, Cols: 6, Eps: 100}, inputs: []any{n(24)},
			wrt: []int{0}, analytic: back(device.L2NormBack{Rows: 4, Cols: 6, Eps: 100})},
		gradient{name: "slice", forward: device.Slice{B: 2, T: 5, W: 3, From: 1, N: 2}, inputs: []any{n(30)},
			wrt: []int{0}, analytic: func(l lab, _ []any, _, w []float64) [][]float64 {
				return l.run(device.SliceBack{B: 2, T: 5, W: 3, From: 1, N: 2}, []any{w})
			}},
		gradient{name: "gather", forward: device.Gather{Rows: 4, Cols: 3, N: 5}, inputs: []any{n(12), []int32{2, 0, 2, 3, 2}},
			wrt: []int{0}, analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				return l.run(device.GatherBack{Rows: 4, Cols: 3, N: 5}, []any{in[1], w})
			}},
		gradient{name: "mean tokens", forward: device.MeanTokens{B: 2, T: 4, W: 3}, inputs: []any{n(24), nil},
			wrt: []int{0}, analytic: func(l lab, _ []any, _, w []float64) [][]float64 {
				return l.run(device.MeanTokensBack{B: 2, T: 4, W: 3}, []any{w, nil})
			}},
		gradient{name: "mean tokens with lengths", forward: device.MeanTokens{B: 3, T: 4, W: 2, Lengths: true},
			inputs: []any{n(24), []int32{1, 4, 0}}, wrt: []int{0}, analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				return l.run(device.MeanTokensBack{B: 3, T: 4, W: 2, Lengths: true}, []any{w, in[1]})
			}},
		gradient{name: "accumulated rows", forward: device.BroadcastRows{Rows: 4, Cols: 3}, inputs: []any{n(3)},
			wrt: []int{0}, analytic: func(l lab, _ []any, _, w []float64) [][]float64 {
				return l.run(device.SumRows{Rows: 4, Cols: 3}, []any{w})
			}},
		gradient{name: "sum of columns", forward: device.SumCols{Rows: 3, Cols: 4}, inputs: []any{n(12)},
			wrt: []int{0}, analytic: func(l lab, _ []any, _, w []float64) [][]float64 {
				rows := l.run(device.BroadcastRows{Rows: 4, Cols: 3}, []any{w})[0]
				return l.run(device.Transpose{B: 1, M: 4, N: 3}, []any{rows})
			}},
	)
	for _, smooth := range []float64{0, 0.1} {
		ce := device.CrossEntropy{Rows: 3, Cols: 5, Smooth: smooth}
		cases = append(cases, gradient{name: fmt.Sprint("cross entropy, smooth ", smooth), forward: ce,
			inputs: []any{n(15), []int32{4, 0, 2}}, wrt: []int{0}, analytic: back(device.CrossEntropyBack(ce))})
	}
	for _, a := range []device.Attention{
		{B: 2, Tq: 5, Tk: 5, Heads: 2, HeadDim: 3, Packed: true},
		{B: 2, Tq: 5, Tk: 5, Heads: 2, HeadDim: 3, Packed: true, Causal: true},
	} {
		cases = append(cases, gradient{name: fmt.Sprintf("packed attention, causal %v", a.Causal), forward: a,
			inputs: []any{n(2 * 5 * 3 * 6)}, wrt: []int{0}, analytic: back(device.AttentionBack(a))})
	}
	for _, causal := range []bool{false, true} {
		spans := device.Attention{B: 3, Tq: 4, Tk: 4, Heads: 2, HeadDim: 3, Causal: causal, Packed: true, Rows: 10}
		cases = append(cases, gradient{name: fmt.Sprintf("attention of different lengths, causal %v", causal), forward: spans,
			inputs: []any{n(10 * 3 * 6), []int32{0, 4, 5, 8}}, wrt: []int{0}, analytic: back(device.AttentionBack(spans))})
		at := device.AttentionAt{B: 3, T: 4, Heads: 2, HeadDim: 3, Causal: causal, Rows: 10}
		cases = append(cases, gradient{name: fmt.Sprintf("attention at a place, of different lengths, causal %v", causal), forward: at,
			inputs: []any{n(10 * 3 * 6), []int32{0, 4, 5, 8}, []int32{2, 4, 7}}, wrt: []int{0}, analytic: back(device.AttentionAtBack(at))})
		a := device.AttentionAt{B: 3, T: 4, Heads: 2, HeadDim: 3, Causal: causal}
		cases = append(cases, gradient{name: fmt.Sprintf("attention at a place, causal %v", causal), forward: a,
			inputs: []any{n(3 * 4 * 3 * 6), []int32{2, 4, 11}}, wrt: []int{0}, analytic: back(device.AttentionAtBack(a))})
	}
	for _, a := range []device.Attention{
		{B: 2, Tq: 1, Tk: 6, Heads: 2, HeadDim: 3},
		{B: 1, Tq: 4, Tk: 4, Heads: 3, HeadDim: 2, Causal: true},
	} {
		w := a.Heads * a.HeadDim
		cases = append(cases, gradient{name: fmt.Sprintf("attention %dx%d, causal %v", a.Tq, a.Tk, a.Causal), forward: a,
			inputs: []any{n(a.B * a.Tq * w), n(a.B * a.Tk * w), n(a.B * a.Tk * w)}, wrt: []int{0, 1, 2},
			analytic: back(device.AttentionBack(a))})
	}
	for _, c := range []device.Conv2D{
		{B: 3, H: 5, W: 6, InC: 2, OutC: 3, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{B: 2, H: 7, W: 5, InC: 2, OutC: 2, KH: 3, KW: 2, Stride: 2, Pad: 1},
		{B: 2, H: 4, W: 4, InC: 3, OutC: 4, KH: 1, KW: 1, Stride: 1},
		{B: 1, H: 6, W: 6, InC: 2, OutC: 2, KH: 1, KW: 1, Stride: 2},
	} {
		cases = append(cases, gradient{name: fmt.Sprintf("convolution %+v", c), forward: device.ConvForward{Conv2D: c},
			inputs: []any{n(c.B * c.H * c.W * c.InC), n(c.OutC * c.InC * c.KH * c.KW)}, wrt: []int{0, 1},
			analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				return append(l.run(device.ConvBackData{Conv2D: c}, []any{in[1], w}),
					l.run(device.ConvBackWeights{Conv2D: c}, []any{in[0], w})...)
			}})
	}
	for _, p := range []device.Pool2D{
		{B: 2, H: 4, W: 6, C: 3, Size: 2, Stride: 2},
		{B: 2, H: 5, W: 5, C: 2, Size: 3, Stride: 2},
		{B: 1, H: 5, W: 6, C: 2, Size: 3, Stride: 2, Pad: 1},
	} {
		x := n(p.B * p.H * p.W * p.C)
		cases = append(cases, gradient{name: fmt.Sprintf("max pool %+v", p), forward: device.MaxPool{Pool2D: p},
			inputs: []any{x}, wrt: []int{0}, analytic: back(device.MaxPoolBack{Pool2D: p})})
		if p.Pad == 0 {
			cases = append(cases, gradient{name: fmt.Sprintf("average pool %+v", p), forward: device.AvgPool{Pool2D: p},
				inputs: []any{x}, wrt: []int{0}, analytic: func(l lab, _ []any, _, w []float64) [][]float64 {
					return l.run(device.AvgPoolBack{Pool2D: p}, []any{w})
				}})
		}
	}
	for _, act := range []device.Activation{device.Identity, device.ReLU} {
		cases = append(cases, gradient{name: fmt.Sprint("batch norm with given statistics, activation ", act),
			forward: device.BatchNorm{Rows: 6, C: 3, Eps: 1e-5, Act: act},
			inputs:  []any{n(18), []float64{.1, .2, -.3, 1, 2, .5}, n(3), n(3), nil}, wrt: []int{0, 2, 3},
			analytic: func(l lab, in []any, _, w []float64) [][]float64 {
				return l.run(device.BatchNormBack{Rows: 6, C: 3, Eps: 1e-5, Act: act}, []any{in[0], in[1], in[2], shift(act, in[3]), nil, w})
			}})
	}
	cases = append(cases, gradient{name: "batch norm with given statistics and a residual",
		forward: device.BatchNorm{Rows: 6, C: 3, Eps: 1e-5, Act: device.ReLU, Residual: true},
		inputs:  []any{n(18), []float64{.1, .2, -.3, 1, 2, .5}, n(3), n(3), n(18)}, wrt: []int{0, 2, 3, 4},
		analytic: func(l lab, in []any, y, w []float64) [][]float64 {
			return l.run(device.BatchNormBack{Rows: 6, C: 3, Eps: 1e-5, Act: device.ReLU, Residual: true},
				[]any{in[0], in[1], in[2], nil, y, w})
		}})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := lab{t, New[float64](2)}
			forward := func() []float64 { return l.run(c.forward, c.inputs, c.scalars...)[0] }
			checkGradient(t, rng, c.inputs, c.wrt, forward, func(out, weights []float64) [][]float64 {
				return c.analytic(l, c.inputs, out, weights)
			})
		})
	}
}

// checkGradient compares analytic gradients of Σ weights·forward() with central differences, whose
// own error is near 1e-9 at this step.
func checkGradient(t *testing.T, rng *rand.Rand, inputs []any, wrt []int, forward func() []float64,
	analytic func(out, weights []float64) [][]float64) {
	t.Helper()
	const step, tolerance = 1e-5, 1e-7
	out := forward()
	weights := normal(rng, len(out))
	value := func() float64 {
		var s float64
		for i, v := range forward() {
			s += v * weights[i]
		}
		return s
	}
	got := analytic(out, weights)
	for g, input := range wrt {
		x := inputs[input].([]float64)
		for i := range x {
			old := x[i]
			x[i] = old + step
			up := value()
			x[i] = old - step
			down := value()
			x[i] = old
			want := (up - down) / (2 * step)
			if !(math.Abs(got[g][i]-want) <= tolerance*(1+math.Abs(want))) {
				t.Fatalf("input %d, element %d: gradient is %.9g, finite difference %.9g", input, i, got[g][i], want)
			}
		}
	}
}

// shift returns β for the gradient of a batch norm without a residual, which needs it with ReLU alone.
func shift(act device.Activation, beta any) any {
	if act == device.ReLU {
		return beta
	}
	return nil
}

func TestBatchNormInTrainingDifferentiatesItsStatistics(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, act := range []device.Activation{device.Identity, device.ReLU} {
		for _, residual := range []bool{false, true} {
			if residual && act == device.Identity {
				continue // the gradient of the residual is that of the output
			}
			l := lab{t, New[float64](2)}
			inputs := []any{normal(rng, 24), normal(rng, 4), normal(rng, 4)}
			var added any
			wrt := []int{0, 1, 2}
			if residual {
				added = normal(rng, 24)
				inputs, wrt = append(inputs, added), append(wrt, 3)
			}
			var stats []float64
			forward := func() []float64 {
				stats = l.run(device.BatchStats{Rows: 6, C: 4}, inputs[:1])[0]
				return l.run(device.BatchNorm{Rows: 6, C: 4, Eps: 1e-5, Act: act, Residual: residual},
					[]any{inputs[0], stats, inputs[1], inputs[2], added})[0]
			}
			checkGradient(t, rng, inputs, wrt, forward, func(y, w []float64) [][]float64 {
				k := device.BatchNormBack{Rows: 6, C: 4, Eps: 1e-5, Act: act, Training: true, Residual: residual}
				if residual {
					return l.run(k, []any{inputs[0], stats, inputs[1], nil, y, w})
				}
				return l.run(k, []any{inputs[0], stats, inputs[1], shift(act, inputs[2]), nil, w})
			})
		}
	}
}
