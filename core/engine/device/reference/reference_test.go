package reference

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

func TestMatMulMatchesItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	l := lab{t, New[float64](3)}
	for _, k := range []device.MatMul{
		{Batch: 1, M: 3, N: 5, K: 4},
		{Batch: 2, M: 3, N: 5, K: 4, TransA: true, Bias: true},
		{Batch: 3, M: 1, N: 7, K: 2, TransB: true, Residual: true, Act: device.GELU},
		{Batch: 1, M: 70, N: 200, K: 9, TransA: true, TransB: true, Bias: true, Residual: true, Act: device.QuickGELU, Slope: true},
		{Batch: 1, M: 4, N: 6, K: 3, Gate: true, Act: device.GELU},
		{Batch: 1, M: 65, N: 193, K: 3, Act: device.ReLU, Bias: true, Slope: true},
	} {
		a, b := normal(rng, k.Batch*k.M*k.K), normal(rng, k.Batch*k.K*k.N)
		bias, residual := normal(rng, k.N), normal(rng, k.Batch*k.M*k.N)
		inputs := []any{a, b, nil, nil}
		if k.Bias {
			inputs[2] = bias
		}
		if k.Residual || k.Gate {
			inputs[3] = residual
		}
		const alpha = 0.5
		out := l.run(k, inputs, alpha)
		f, slope := activation[float64](k.Act)
		for batch := range k.Batch {
			for i := range k.M {
				for j := range k.N {
					var want float64
					for x := range k.K {
						ai, bi := i*k.K+x, x*k.N+j
						if k.TransA {
							ai = x*k.M + i
						}
						if k.TransB {
							bi = j*k.K + x
						}
						want += alpha * a[batch*k.M*k.K+ai] * b[batch*k.K*k.N+bi]
					}
					if k.Bias {
						want += bias[j]
					}
					at := (batch*k.M+i)*k.N + j
					if k.Slope && math.Abs(out[1][at]-slope(want)) > 1e-12 {
						t.Fatalf("%+v: slope[%d] is %v, want %v", k, at, out[1][at], slope(want))
					}
					want = f(want)
					if k.Residual {
						want += residual[at]
					}
					if k.Gate {
						want *= residual[at]
					}
					if math.Abs(out[0][at]-want) > 1e-12 {
						t.Fatalf("%+v: c[%d] is %v, want %v", k, at, out[0][at], want)
					}
				}
			}
		}
	}
}

func TestPatchifyAgreesWithConvolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	l := lab{t, New[float64](2)}
	p := device.Patchify{B: 2, H: 4, W: 6, C: 3, P: 2}
	x, w := normal(rng, 2*4*6*3), normal(rng, 5*3*2*2)
	patches := l.run(p, []any{x})[0]
	got := l.run(device.MatMul{Batch: 1, M: 12, N: 5, K: 12, TransB: true}, []any{patches, w, nil, nil})[0]
	want := l.run(device.ConvForward{Conv2D: device.Conv2D{B: 2, H: 4, W: 6, InC: 3, OutC: 5, KH: 2, KW: 2, Stride: 2}},
		[]any{x, w})[0]
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Fatalf("output %d: %v through patches, %v through convolution", i, got[i], want[i])
		}
	}
}

func TestOptimisersTakeTheirDocumentedStep(t *testing.T) {
	l := lab{t, New[float64](1)}
	const lr, decay, scale, g0, p0 = 0.1, 0.2, 0.5, 3.0, 2.0
	// Outputs are updated in place, so they are given as inputs and read back from the buffers.
	step := func(k device.Kernel, state int, scalars ...float64) []float64 {
		exec, err := l.b.Prepare(k)
		if err != nil {
			t.Fatal(err)
		}
		bufs := make([]device.Buffer, 2+state)
		for i := range bufs {
			bufs[i], _ = l.b.Alloc(device.Real, 1)
		}
		l.b.Write(bufs[0], []float64{g0})
		l.b.Write(bufs[1], []float64{p0})
		exec.Run(bufs, scalars...)
		exec.Run(bufs, scalars...)
		p := make([]float64, 1)
		l.b.Read(p, bufs[1])
		return p
	}
	g := g0 * scale
	// AdamW with step 1 then (as called here) 1 again: written out by hand.
	m1, v1 := .1*g, .01*g*g
	p1 := p0 - lr*(decay*p0+(m1/.1)/(math.Sqrt(v1/.01)+1e-8))
	m2, v2 := .9*m1+.1*g, .99*v1+.01*g*g
	p2 := p1 - lr*(decay*p1+(m2/.1)/(math.Sqrt(v2/.01)+1e-8))
	if got := step(device.AdamW{N: 1, Beta1: .9, Beta2: .99, Eps: 1e-8}, 2, lr, decay, scale, 1)[0]; math.Abs(got-p2) > 1e-12 {
		t.Errorf("adamw: %v, want %v", got, p2)
	}
	s1 := g + decay*p0
	q1 := p0 - lr*s1
	q2 := q1 - lr*(.9*s1+g+decay*q1)
	if got := step(device.SGD{N: 1, Momentum: .9}, 1, lr, decay, scale)[0]; math.Abs(got-q2) > 1e-12 {
		t.Errorf("sgd: %v, want %v", got, q2)
	}
	r1 := p0 - lr*(1+decay*p0)
	r2 := r1 - lr*(1+decay*r1)
	if got := step(device.Lion{N: 1, Beta1: .9, Beta2: .99}, 1, lr, decay, scale)[0]; math.Abs(got-r2) > 1e-12 {
		t.Errorf("lion: %v, want %v", got, r2)
	}
}

func TestRunningStatsUnbiasTheVariance(t *testing.T) {
	b := New[float32](1)
	exec, err := b.Prepare(device.RunningStats{Rows: 5, C: 1, Momentum: .1})
	if err != nil {
		t.Fatal(err)
	}
	stats, _ := b.Alloc(device.Real, 2)
	mean, _ := b.Alloc(device.Real, 1)
	variance, _ := b.Alloc(device.Real, 1)
	b.Write(stats, []float32{2, 4})
	b.Write(variance, []float32{1})
	exec.Run([]device.Buffer{stats, mean, variance})
	m, v := make([]float32, 1), make([]float32, 1)
	b.Read(m, mean)
	b.Read(v, variance)
	if m[0] != .2 || math.Abs(float64(v[0])-(.9+.1*4*5/4)) > 1e-6 {
		t.Errorf("running mean %v, variance %v; want 0.2 and 1.4", m[0], v[0])
	}
}

func TestNormalizeScalesChannels(t *testing.T) {
	l := lab{t, New[float64](1)}
	got := l.run(device.Normalize{N: 1, Mean: [3]float64{0, .5, 1}, Std: [3]float64{1, .5, .25}},
		[]any{[]uint8{255, 0, 51}})[0]
	for i, want := range []float64{1, -1, -3.2} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("channel %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestResultsDoNotDependOnTheThreadCount(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	x, y := normal(rng, 300*257), normal(rng, 300*257)
	for _, c := range []struct {
		k  device.Kernel
		in []any
	}{
		{device.SumRows{Rows: 300, Cols: 257}, []any{x}},
		{device.SumSquares{N: 300 * 257}, []any{x}},
		{device.LayerNormBack{Rows: 300, Cols: 257, Eps: 1e-5}, []any{x, y[:257], y}},
		{device.MatMul{Batch: 1, M: 257, N: 257, K: 300, TransA: true}, []any{x, y, nil, nil}},
	} {
		one := lab{t, New[float64](1)}.run(c.k, c.in)
		three := lab{t, New[float64](3)}.run(c.k, c.in)
		for o := range one {
			for i := range one[o] {
				if one[o][i] != three[o][i] {
					t.Fatalf("%T: output %d differs at %d: %v with one thread, %v with three", c.k, o, i, one[o][i], three[o][i])
				}
			}
		}
	}
}

func TestRunPanicsOnWrongArguments(t *testing.T) {
	b := New[float32](1)
	exec, err := b.Prepare(device.Act{N: 4})
	if err != nil {
		t.Fatal(err)
	}
	four, _ := b.Alloc(device.Real, 4)
	three, _ := b.Alloc(device.Real, 3)
	ints, _ := b.Alloc(device.I32, 4)
	for want, bufs := range map[string][]device.Buffer{
		"takes 2 arguments": {four},
		"want real[4]":      {three, four},
		"is i32[4]":         {four, ints},
		"(x) is nil":        {nil, four},
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, want) {
					t.Errorf("panic %q does not say %q", text, want)
				}
			}()
			exec.Run(bufs)
		}()
	}
}

func TestPrepareRefusesImpossibleKernels(t *testing.T) {
	b := New[float32](1)
	for _, k := range []device.Kernel{
		device.MatMul{Batch: 1, M: 0, N: 1, K: 1},
		device.Binary{N: 6, Period: 4, Op: device.OpAdd},
		device.Patchify{B: 1, H: 5, W: 4, C: 3, P: 2},
		device.Attention{B: 1, Tq: 2, Tk: 3, Heads: 1, HeadDim: 1, Causal: true},
		device.ConvForward{Conv2D: device.Conv2D{B: 1, H: 2, W: 2, InC: 1, OutC: 1, KH: 3, KW: 3, Stride: 1}},
		device.AvgPool{Pool2D: device.Pool2D{B: 1, H: 4, W: 4, C: 1, Size: 3, Stride: 1, Pad: 1}},
		device.Slice{B: 1, T: 3, W: 1, From: 2, N: 2},
	} {
		if _, err := b.Prepare(k); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: got %v, want an invalid fault", k, err)
		}
	}
}

func TestNaNReachesTheOutput(t *testing.T) {
	nan := math.NaN()
	l := lab{t, New[float64](1)}
	for _, act := range []device.Activation{device.Identity, device.ReLU, device.GELU, device.QuickGELU, device.TanhGELU} {
		if got := l.run(device.Act{N: 1, Act: act}, []any{[]float64{nan}})[0][0]; !math.IsNaN(got) {
			t.Errorf("activation %d of NaN is %v", act, got)
		}
	}
	if got := l.run(device.MaxPool{Pool2D: device.Pool2D{B: 1, H: 2, W: 2, C: 1, Size: 2, Stride: 2}},
		[]any{[]float64{1, nan, 3, 2}})[0][0]; !math.IsNaN(got) {
		t.Errorf("max pool over a NaN is %v", got)
	}
	if got := l.run(device.CrossEntropy{Rows: 1, Cols: 2}, []any{[]float64{nan, 1}, []int32{1}})[0][0]; !math.IsNaN(got) {
		t.Errorf("cross entropy of NaN is %v", got)
	}
}
