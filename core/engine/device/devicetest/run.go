package devicetest

import (
	"math"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// Run computes a trial on a backend and reads back all outputs, in order.
func Run(t testing.TB, b device.Backend, c Trial) [][]float32 {
	t.Helper()
	want, err := device.Signature(c.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	exec := prepare(t, b, c.Kernel)
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	bufs := make([]device.Buffer, len(want))
	for i, v := range Inputs(c.Kernel, want) {
		if v != nil {
			bufs[i] = alloc(t, b, want[i].DType, want[i].Len)
			defer b.Free(bufs[i])
			b.Write(bufs[i], v)
		}
	}
	exec.Run(bufs, c.Scalars...)
	var outs [][]float32
	for i, arg := range want {
		if arg.Out {
			outs = append(outs, read(b, bufs[i]))
		}
	}
	return outs
}

// Reference runs the trial in float64 on the host, where rounding does not matter.
func Reference(t testing.TB, c Trial) [][]float32 {
	t.Helper()
	return Run(t, reference.New[float64](2), c)
}

// RunOn computes a kernel whose arguments are all Real on a backend, and gives all arguments afterwards. Inputs are given, nil
// where a kernel takes none; outputs are nil.
func RunOn(t testing.TB, b device.Backend, k device.Kernel, in [][]float32) [][]float32 {
	t.Helper()
	want, err := device.Signature(k)
	if err != nil {
		t.Fatal(err)
	}
	exec := prepare(t, b, k)
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	bufs, all := make([]device.Buffer, len(want)), make([][]float32, len(want))
	for i, arg := range want {
		if arg.Absent {
			continue
		}
		bufs[i] = alloc(t, b, arg.DType, arg.Len)
		defer b.Free(bufs[i])
		if !arg.Out {
			b.Write(bufs[i], in[i])
		}
	}
	exec.Run(bufs)
	for i := range want {
		if bufs[i] != nil {
			all[i] = read(b, bufs[i])
		}
	}
	return all
}

// floor stands in for the largest magnitude where everything cancels: inputs are of order 1.
const floor = 0.1

// CompareFused holds the kernels that a device.Fuser has beyond others against Reference. One at least there must be.
func CompareFused(t testing.TB, b device.Backend) {
	t.Helper()
	tried := 0
	for _, c := range Fused() {
		if b.(device.Fuser).Fuses(c.Kernel) {
			Compare(t, b, c)
			tried++
		}
	}
	if tried == 0 {
		t.Error("no kernel does the work of two")
	}
}

// Compare holds a trial on a backend against Reference. Trials with Rare may exceed Tol in a fifth of an output's elements,
// and in some of a small output.
func Compare(t testing.TB, b device.Backend, c Trial) {
	t.Helper()
	got, want := Run(t, b, c), Reference(t, c)
	corners := cornersOfReLU(t, c)
	for o := range want {
		var scale, worst float64
		at := 0
		for i, w := range want[o] {
			scale = math.Max(scale, math.Abs(float64(w)))
			d := math.Abs(float64(got[o][i]) - float64(w))
			if o == 1 && corners[i] && (got[o][i] == 0 || got[o][i] == 1) {
				continue
			}
			if d > worst || math.IsNaN(d) {
				worst, at = d, i
			}
		}
		allowed, rare := c.Tol*math.Max(scale, floor), c.Rare*math.Max(scale, floor)
		if beyond := beyond(got[o], want[o], allowed); worst <= rare && beyond <= len(want[o])/5+130 {
			continue
		} else if c.Rare > 0 {
			t.Errorf("%T%+v: %d of %d elements of output %d are off by more than %.0e of the largest, [%d] by %.1e (allowed %.0e)",
				c.Kernel, c.Kernel, beyond, len(want[o]), o, c.Tol, at, worst/scale, c.Rare)
			continue
		}
		if !(worst <= allowed) {
			t.Errorf("%T%+v: output %d[%d] is %g, want %g (%.1e of the largest, allowed %.0e)",
				c.Kernel, c.Kernel, o, at, got[o][at], want[o][at], worst/scale, c.Tol)
		}
	}
}

// beyond counts the numbers that differ by more than allowed.
func beyond(got, want []float32, allowed float64) (n int) {
	for i, w := range want {
		if !(math.Abs(float64(got[i])-float64(w)) <= allowed) {
			n++
		}
	}
	return n
}

// cornersOfReLU returns the elements of a product so close to 0 that rounding decides on which side of ReLU's corner they lie:
// their slope may be 0 or 1. It returns nil for other kernels.
func cornersOfReLU(t testing.TB, c Trial) map[int]bool {
	k, ok := c.Kernel.(device.MatMul)
	if !ok || !k.Slope || k.Act != device.ReLU {
		return nil
	}
	want, err := device.Signature(k)
	if err != nil {
		t.Fatal(err)
	}
	in := make([][]float32, 5)
	for i, v := range Inputs(k, want)[:3] {
		in[i], _ = v.([]float32)
	}
	k.Slope, k.Act, k.Residual, k.Gate = false, device.Identity, false, false
	product := RunOn(t, reference.New[float64](2), k, in)[4]
	corners := map[int]bool{}
	for i, v := range product {
		if math.Abs(float64(v)) < c.Tol {
			corners[i] = true
		}
	}
	return corners
}

// EqualBits holds trials on one backend against the same on another of its kind: equal bits.
func EqualBits(t testing.TB, first, second device.Backend, trials []Trial) {
	t.Helper()
	for _, c := range trials {
		a, b := Run(t, first, c), Run(t, second, c)
		for o := range a {
			for i := range a[o] {
				if math.Float32bits(a[o][i]) != math.Float32bits(b[o][i]) {
					t.Fatalf("%T%+v: output %d[%d] is %g, then %g", c.Kernel, c.Kernel, o, i, a[o][i], b[o][i])
				}
			}
		}
	}
}

func prepare(t testing.TB, b device.Backend, k device.Kernel) device.Exec {
	t.Helper()
	exec, err := b.Prepare(k)
	if err != nil {
		t.Fatal(err)
	}
	return exec
}

func alloc(t testing.TB, b device.Backend, dtype device.DType, n int) device.Buffer {
	t.Helper()
	buf, err := b.Alloc(dtype, n)
	if err != nil {
		t.Fatal(err)
	}
	return buf
}

// newFilled makes a buffer of n reals, all v.
func newFilled(t testing.TB, b device.Backend, n int, v float32) device.Buffer {
	t.Helper()
	buf := alloc(t, b, device.Real, n)
	values := make([]float32, n)
	for i := range values {
		values[i] = v
	}
	b.Write(buf, values)
	return buf
}

func read(b device.Backend, x device.Buffer) []float32 {
	values := make([]float32, x.Len())
	b.Read(values, x)
	return values
}
