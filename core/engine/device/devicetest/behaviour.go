package devicetest

import (
	"math"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

// Extremes holds activations of zeros, tiny, huge and infinite numbers and NaN against the host's float64.
func Extremes(t testing.TB, b device.Backend) {
	t.Helper()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e-8, -1e-8, 3, -3, 5.5, -5.5, 12, -12, 50, -50, 88, -88,
		104, -104, 1e4, -1e4, 1e30, -1e30, inf, nan}
	reference := reference.New[float64](1)
	kernels := []device.Kernel{device.Softplus{N: len(x)}}
	for act := device.Identity; act <= device.TanhGELU; act++ {
		kernels = append(kernels, device.Act{N: len(x), Act: act})
	}
	for _, k := range kernels {
		apply := func(b device.Backend) []float32 {
			in, out := alloc(t, b, device.Real, len(x)), alloc(t, b, device.Real, len(x))
			defer b.Free(in)
			defer b.Free(out)
			b.Write(in, x)
			prepare(t, b, k).Run([]device.Buffer{in, out})
			return read(b, out)
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

// NaN holds a product to pass a NaN on to its row and to no other, through every activation.
func NaN(t testing.TB, b device.Backend) {
	t.Helper()
	for act := device.Identity; act <= device.TanhGELU; act++ {
		exec := prepare(t, b, device.MatMul{Batch: 1, M: 33, N: 64, K: 32, TransB: true, Bias: true, Act: act})
		x := make([]float32, 33*32)
		x[5*32+3] = float32(math.NaN())
		bufs := make([]device.Buffer, 5)
		for i, n := range []int{33 * 32, 64 * 32, 64, 0, 33 * 64} {
			if n > 0 {
				bufs[i] = newFilled(t, b, n, 0)
			}
		}
		b.Write(bufs[0], x)
		exec.Run(bufs)
		for i, v := range read(b, bufs[4]) {
			if nan := v != v; nan != (i/64 == 5) {
				t.Fatalf("activation %d: element %d of row %d is %g", act, i%64, i/64, v)
			}
		}
	}
}

// WrongArguments holds Run to panic on arguments that a kernel does not take, naming what is wrong, and
// Prepare to refuse impossible kernels.
func WrongArguments(t testing.TB, b device.Backend) {
	t.Helper()
	exec := prepare(t, b, device.Act{N: 4})
	four, three, ints := alloc(t, b, device.Real, 4), alloc(t, b, device.Real, 3), alloc(t, b, device.I32, 4)
	for want, bufs := range map[string][]device.Buffer{
		"takes 2 arguments":    {four},
		"want real[4]":         {three, four},
		"i32[4], want real[4]": {four, ints},
		"(x) is nil":           {nil, four},
	} {
		panics(t, want, func() { exec.Run(bufs) })
	}
	panics(t, "outside a buffer of 4", func() { b.View(four, 2, 3) })
	panics(t, "buffer is real[4], values are real[3]", func() { b.Write(four, make([]float32, 3)) })
	panics(t, "buffer is real[4], values are i32[4]", func() { b.Read(make([]int32, 4), four) })
	panics(t, "", func() { b.Copy(four, three) })
	for _, k := range []device.Kernel{
		device.MatMul{Batch: 1, M: 0, N: 1, K: 1},
		device.Binary{N: 6, Period: 4, Op: device.OpAdd},
	} {
		if _, err := b.Prepare(k); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: got %v, want an invalid fault", k, err)
		}
	}
}

func panics(t testing.TB, want string, call func()) {
	t.Helper()
	defer func() {
		if text, ok := recover().(string); !ok || !strings.Contains(text, want) {
			t.Errorf("panic %q does not say %q", text, want)
		}
	}()
	call()
}

// Memory holds Alloc, View, Write, Read, Copy, Zero and Free to their contract, for each dtype.
func Memory(t testing.TB, b device.Backend) {
	t.Helper()
	for _, n := range []int{0, 1, 5, 70001} {
		f, u, i := make([]float32, n), make([]uint8, n), make([]int32, n)
		for k := range n {
			f[k], u[k], i[k] = float32(k)+.5, uint8(k%251), int32(-k)
		}
		roundTrip(t, b, device.Real, f)
		roundTrip(t, b, device.U8, u)
		roundTrip(t, b, device.I32, i)
	}
	if _, err := b.Alloc(device.Real, -1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a negative size gives %v, want an invalid fault", err)
	}
}

func roundTrip[E comparable](t testing.TB, b device.Backend, dtype device.DType, values []E) {
	t.Helper()
	n := len(values)
	x, y := alloc(t, b, dtype, n), alloc(t, b, dtype, n)
	defer b.Free(x)
	defer b.Free(y)
	expect := func(when string, from device.Buffer, want func(i int) E) {
		t.Helper()
		got := make([]E, n)
		b.Read(got, from)
		for i, v := range got {
			if v != want(i) {
				t.Fatalf("%v[%d] %s: element %d is %v, want %v", dtype, n, when, i, v, want(i))
			}
		}
	}
	var zero E
	expect("when new", x, func(int) E { return zero })
	b.Write(x, values)
	b.Copy(y, x)
	expect("copied", y, func(i int) E { return values[i] })
	cut := n / 3
	b.Zero(b.View(y, cut, n-2*cut))
	expect("zeroed in its middle", y, func(i int) E {
		if i >= cut && i < n-cut {
			return zero
		}
		return values[i]
	})
	middle := b.View(b.View(y, cut, n-cut), 0, n-2*cut)
	b.Write(middle, values[:n-2*cut])
	b.Free(middle) // does nothing: it is a view
	expect("written in its middle", y, func(i int) E {
		if i >= cut && i < n-cut {
			return values[i-cut]
		}
		return values[i]
	})
}

// CopiesInBF16 holds rounded copies of operands, which a backend may keep between products, to follow their
// memory: every way to write an operand must reach the next product.
func CopiesInBF16(t testing.TB, b device.Backend) {
	t.Helper()
	const side = 64
	const n = side * side
	square := device.MatMul{Batch: 1, M: side, N: side, K: side, BF16: true}
	product := prepare(t, b, square)
	square.Weights = true
	weighted := prepare(t, b, square)
	square.BF16 = false
	exact := prepare(t, b, square)
	scale := prepare(t, b, device.Scale{N: n})
	x, y, two, out := newFilled(t, b, n, 1), newFilled(t, b, n, 1), newFilled(t, b, n, 2), newFilled(t, b, n, 0)
	expect := func(when string, exec device.Exec, want float32) {
		t.Helper()
		exec.Run([]device.Buffer{x, y, nil, nil, out})
		if got := read(b, out); got[0] != want || got[n-1] != want {
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
	b.Zero(b.View(x, 0, n))
	expect("after Zero through a view", product, 0)
	product.Run([]device.Buffer{two, y, nil, nil, x}) // a product writes the next one's operand
	expect("after a product wrote it", product, 64*128)
	b.Free(x)
	x = newFilled(t, b, n, 5)
	expect("other memory", product, 320)
}
