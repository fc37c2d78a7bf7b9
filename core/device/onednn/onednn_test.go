//go:build onednn

package onednn

import (
	"math"
	"testing"

	"tandem/core/device"
	"tandem/core/device/host"
)

// run computes a kernel on a backend and reads back all outputs.
func run(t testing.TB, b device.Backend, c trial) [][]float32 {
	t.Helper()
	want, err := device.Signature(c.k)
	if err != nil {
		t.Fatal(err)
	}
	exec, err := b.Prepare(c.k)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	bufs := make([]device.Buffer, len(want))
	for i, v := range values(c.k, want) {
		if v == nil {
			continue
		}
		if bufs[i], err = b.Alloc(want[i].DType, want[i].Len); err != nil {
			t.Fatal(err)
		}
		defer b.Free(bufs[i])
		b.Write(bufs[i], v)
	}
	exec.Run(bufs, c.scalars...)
	var outs [][]float32
	for i, arg := range want {
		if arg.Out {
			out := make([]float32, arg.Len)
			b.Read(out, bufs[i])
			outs = append(outs, out)
		}
	}
	return outs
}

func open(t testing.TB, threads int) device.Backend {
	t.Helper()
	b, err := New(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// reference is the kernel in float64, where rounding does not matter.
func reference(t testing.TB, c trial) [][]float32 { return run(t, host.New[float64](2), c) }

func TestKernelsMatchTheReference(t *testing.T) {
	for _, threads := range []int{1, 3} {
		b := open(t, threads)
		t.Run(b.Name(), func(t *testing.T) {
			for _, c := range trials() {
				compare(t, b, c)
			}
		})
	}
}

// floor stands in for the largest magnitude where everything cancels: inputs are of order 1.
const floor = 0.1

func compare(t *testing.T, b device.Backend, c trial) {
	t.Helper()
	got, want := run(t, b, c), reference(t, c)
	for o := range want {
		var scale, worst float64
		at := 0
		for i, w := range want[o] {
			scale = math.Max(scale, math.Abs(float64(w)))
			d := math.Abs(float64(got[o][i]) - float64(w))
			if d > worst || math.IsNaN(d) {
				worst, at = d, i
			}
		}
		if !(worst <= c.tol*math.Max(scale, floor)) {
			t.Errorf("%T%+v: output %d[%d] is %g, want %g (%.1e of the largest, allowed %.0e)",
				c.k, c.k, o, at, got[o][at], want[o][at], worst/scale, c.tol)
		}
	}
}

func TestNarrowInstructionSetsMatchTheReference(t *testing.T) {
	for _, isa := range []string{"generic", "avx2"} {
		t.Setenv("TANDEM_ISA", isa)
		b := open(t, 2)
		t.Run(b.Name(), func(t *testing.T) {
			for _, c := range trials() {
				switch c.k.(type) {
				case device.MatMul, device.ConvForward, device.ConvBackData, device.ConvBackWeights:
					// oneDNN's own products do not depend on TANDEM_ISA, those of rounded operands do.
					if c.k != device.WithBF16(c.k) {
						continue
					}
				}
				compare(t, b, c)
			}
		})
	}
}

func TestEqualInputsGiveEqualBits(t *testing.T) {
	first, second := open(t, 3), open(t, 3)
	for _, c := range trials() {
		a, b := run(t, first, c), run(t, second, c)
		for o := range a {
			for i := range a[o] {
				if math.Float32bits(a[o][i]) != math.Float32bits(b[o][i]) {
					t.Fatalf("%T%+v: output %d[%d] is %g, then %g", c.k, c.k, o, i, a[o][i], b[o][i])
				}
			}
		}
	}
}

func TestActivationsAtExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e-8, -1e-8, 3, -3, 5.5, -5.5, 12, -12, 50, -50, 88, -88,
		104, -104, 1e4, -1e4, 1e30, -1e30, inf, nan}
	b := open(t, 1)
	reference := host.New[float64](1)
	kernels := []device.Kernel{device.Softplus{N: len(x)}}
	for act := device.Identity; act <= device.QuickGELU; act++ {
		kernels = append(kernels, device.Act{N: len(x), Act: act})
	}
	for _, k := range kernels {
		apply := func(b device.Backend) []float32 {
			exec, err := b.Prepare(k)
			if err != nil {
				t.Fatal(err)
			}
			in, _ := b.Alloc(device.Real, len(x))
			out, _ := b.Alloc(device.Real, len(x))
			b.Write(in, x)
			exec.Run([]device.Buffer{in, out})
			y := make([]float32, len(x))
			b.Read(y, out)
			return y
		}
		got, want := apply(b), apply(reference)
		for i := range x {
			g, w := float64(got[i]), float64(want[i])
			if math.IsNaN(w) && math.IsNaN(g) || g == w {
				continue
			}
			if !(math.Abs(g-w) <= 1e-6*math.Abs(w)+1e-12) && !(math.Abs(w) < 1e-5 && math.Abs(g-w) <= 1e-5*math.Abs(w)+1e-30) {
				t.Errorf("%T%+v of %g is %g, want %g", k, k, x[i], g, w)
			}
		}
	}
}

func TestNaNReachesTheOutputOfAMatMul(t *testing.T) {
	b := open(t, 2)
	for _, act := range []device.Activation{device.Identity, device.ReLU, device.GELU, device.QuickGELU} {
		k := device.MatMul{Batch: 1, M: 33, N: 64, K: 32, TransB: true, Bias: true, Act: act}
		exec, err := b.Prepare(k)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 33*32)
		x[5*32+3] = float32(math.NaN())
		bufs := make([]device.Buffer, 5)
		for i, n := range []int{33 * 32, 64 * 32, 64, 0, 33 * 64} {
			if n > 0 {
				bufs[i], _ = b.Alloc(device.Real, n)
			}
		}
		b.Write(bufs[0], x)
		exec.Run(bufs)
		y := make([]float32, 33*64)
		b.Read(y, bufs[4])
		for i, v := range y {
			if nan := v != v; nan != (i/64 == 5) {
				t.Fatalf("activation %d: element %d of row %d is %g", act, i%64, i/64, v)
			}
		}
	}
}

func TestPackedWeightsFollowTheirParameter(t *testing.T) {
	const side = 416 // more than the kernel for small weights takes
	b := open(t, 2)
	k := device.MatMul{Batch: 1, M: side, N: side, K: side, Weights: true}
	exec, err := b.Prepare(k)
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Prepare(device.SGD{N: side * side})
	if err != nil {
		t.Fatal(err)
	}
	n := side * side
	bufs := make([]device.Buffer, 5)
	for _, i := range []int{0, 1, 4} {
		bufs[i], _ = b.Alloc(device.Real, n)
	}
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	b.Write(bufs[0], ones)
	expect := func(when string, want float32) {
		t.Helper()
		for use := range 4 { // the third makes a copy that stays
			exec.Run(bufs)
			y := make([]float32, n)
			b.Read(y, bufs[4])
			if y[0] != want || y[n-1] != want {
				t.Errorf("%s, use %d: product is %g, want %g", when, use, y[0], want)
			}
		}
	}
	expect("zero weights", 0)
	b.Write(bufs[1], ones)
	expect("after Write", side)
	b.Zero(bufs[1])
	expect("after Zero", 0)
	b.Copy(bufs[1], bufs[0])
	expect("after Copy", side)
	v, _ := b.Alloc(device.Real, n)
	other.Run([]device.Buffer{bufs[0], bufs[1], v}, -1, 0, 1)
	expect("after an optimiser step", 2*side)
	// A kernel that writes parameters as any other output is what ParamsChanged is for.
	scale, err := b.Prepare(device.Scale{N: n})
	if err != nil {
		t.Fatal(err)
	}
	scale.Run([]device.Buffer{bufs[1], bufs[1]}, 2, 0)
	b.ParamsChanged()
	expect("after ParamsChanged", 4*side)
	// Other parameters at another, then at the same address.
	old := bufs[1]
	bufs[1], _ = b.Alloc(device.Real, n)
	expect("another parameter", 0)
	bufs[1] = old
	expect("the first parameter again", 4*side)
	// The allocator gives a freed address out again; another layout of the new parameter comes first.
	flipped, err := b.Prepare(device.MatMul{Batch: 1, M: side, N: side, K: side, TransB: true, Weights: true})
	if err != nil {
		t.Fatal(err)
	}
	b.Free(old)
	bufs[1], _ = b.Alloc(device.Real, n)
	upper := make([]float32, n)
	for i := range upper {
		if i%side >= i/side {
			upper[i] = 1
		}
	}
	b.Write(bufs[1], upper)
	flipped.Run(bufs)
	exec.Run(bufs)
	y := make([]float32, side*side)
	b.Read(y, bufs[4])
	if y[0] != 1 || y[side-1] != side {
		t.Errorf("a new parameter at a freed address: columns sum to %g … %g, want 1 … %d", y[0], y[side-1], side)
	}
}

// A copy of parameters that are used once between two changes would only take memory.
func TestPackedWeightsStayWhereTheyAreUsedAgain(t *testing.T) {
	b := open(t, 2)
	exec, err := b.Prepare(device.MatMul{Batch: 1, M: 512, N: 512, K: 512, Weights: true})
	if err != nil {
		t.Fatal(err)
	}
	bufs := make([]device.Buffer, 5)
	for _, i := range []int{0, 1, 4} {
		bufs[i], _ = b.Alloc(device.Real, 512*512)
	}
	for _, c := range []struct {
		name string
		uses int
		kept bool
	}{{"two uses", 2, false}, {"three uses", 3, true}, {"one use after three", 1, true}, {"one use after one", 1, false}} {
		b.ParamsChanged()
		for range c.uses {
			exec.Run(bufs)
		}
		if kept := b.(*Backend).Packed() > 0; kept != c.kept {
			t.Errorf("%s between changes: a copy is kept: %v, want %v", c.name, kept, c.kept)
		}
	}
}
