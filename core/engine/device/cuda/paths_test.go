//go:build clipcuda

package cuda

import (
	"math"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/device/reference"
)

// Kernels choose other ways for large shapes than for those of devicetest.Trials.
func TestKernelsOfLargeShapesMatchTheReference(t *testing.T) {
	b := open(t, Options{})
	for _, c := range []struct {
		tol float64
		k   device.Kernel
	}{
		{3e-6, device.LayerNorm{Rows: 9, Cols: 1280, Eps: 1e-5}},
		{3e-6, device.LayerNorm{Rows: 3, Cols: 1664, Eps: 1e-5}},
		{1e-5, device.LayerNormBack{Rows: 300, Cols: 384, Eps: 1e-2}},
		{1e-5, device.LayerNormBack{Rows: 37, Cols: 768, Eps: 1e-2}},
		{1e-5, device.LayerNormBack{Rows: 10, Cols: 1280, Eps: 1e-2}},
		{1e-5, device.LayerNormBack{Rows: 70, Cols: 1664, Eps: 1e-2}},
		{1e-6, device.L2Norm{Rows: 2, Cols: 3000, Eps: 1e-12}},
		{2e-6, device.L2NormBack{Rows: 2, Cols: 9000, Eps: 1e-12}},
		{1e-6, device.CrossEntropy{Rows: 3, Cols: 5000, Smooth: .1}},
		{1e-6, device.CrossEntropy{Rows: 2, Cols: 10001}},
		{1e-6, device.CrossEntropyBack{Rows: 2, Cols: 10000, Smooth: .1}},
		{1e-6, device.SumRows{Rows: 20000, Cols: 12}},
		{1e-6, device.SumRows{Rows: 5000, Cols: 3}},
		{1e-6, device.SumCols{Rows: 1, Cols: 100003}},
		{1e-6, device.SumCols{Rows: 300, Cols: 2000}},
		{1e-6, device.GatherBack{Rows: 3, Cols: 6, N: 6000}},      // every id goes over many pieces
		{1e-6, device.GatherBack{Rows: 300, Cols: 8, N: 5000}},    // two passes
		{1e-6, device.GatherBack{Rows: 70000, Cols: 3, N: 10007}}, // three passes
		{0, device.Transpose{B: 2, M: 1, N: 1000}},
		{0, device.Transpose{B: 5000, M: 2, N: 3}},
		{0, device.Patchify{B: 2, H: 80, W: 40, C: 1, P: 40}},
		{1e-6, device.SumSquares{N: 1_000_001}},
		{2e-6, device.ScaleByBack{N: 1_000_001, Exp: true}},
	} {
		devicetest.Compare(t, b, devicetest.Trial{Kernel: c.k, Tol: c.tol})
		if b.Err() != nil {
			t.Fatalf("%T%+v", c.k, c.k)
		}
	}
}

// Memory moves in pieces of sixteen bytes only where all of a kernel's arguments begin on sixteen.
func TestKernelsTakeViewsThatBeginAnywhere(t *testing.T) {
	b := open(t, Options{})
	for _, c := range devicetest.Trials() {
		if _, ours := codeOf(c.Kernel); !ours {
			if _, product := c.Kernel.(device.MatMul); !product {
				continue
			}
		}
		got, want := devicetest.Run(t, shifted{b}, c), devicetest.Run(t, b, c)
		for o := range want {
			var largest float64
			for _, w := range want[o] {
				largest = max(largest, math.Abs(float64(w)))
			}
			for i, w := range want[o] {
				if d := math.Abs(float64(got[o][i]) - float64(w)); !(d <= 2*c.Tol*max(largest, .1)) {
					t.Fatalf("%T%+v: output %d[%d] of views is %g, want %g", c.Kernel, c.Kernel, o, i, got[o][i], w)
				}
			}
		}
		if b.Err() != nil {
			t.Fatalf("%T%+v", c.Kernel, c.Kernel)
		}
	}
}

// shifted makes a backend whose buffers are views of longer ones, from the second element on.
type shifted struct{ *Backend }

func (s shifted) Alloc(dtype device.DType, n int) (device.Buffer, error) {
	b, err := s.Backend.Alloc(dtype, n+2)
	if err != nil {
		return nil, err
	}
	return s.View(b, 1, n), nil
}

func TestOperandsAreRoundedAsRoundBF16(t *testing.T) {
	b := open(t, Options{})
	var x []float32
	for _, bits := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0x17fff, 0x18000, 0x3f808000, 0x3f818000, 0x3f807fff, 0x7f7f7fff, 0x7f7f8000,
		0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff} {
		x = append(x, math.Float32frombits(bits), math.Float32frombits(bits|1<<31))
	}
	exec, err := b.Prepare(device.MatMul{Batch: 1, M: len(x), N: 1, K: 1, BF16: true})
	if err != nil {
		t.Fatal(err)
	}
	bufs := make([]device.Buffer, 5)
	for i, n := range map[int]int{0: len(x), 1: 1, 4: len(x)} {
		if bufs[i], err = b.Alloc(device.Real, n); err != nil {
			t.Fatal(err)
		}
	}
	b.Write(bufs[0], x)
	b.Write(bufs[1], []float32{1})
	exec.Run(bufs)
	got := make([]float32, len(x))
	b.Read(got, bufs[4])
	for i, v := range x {
		if want := device.RoundBF16(v); got[i] != want && !(want != want && got[i] != got[i]) {
			t.Errorf("%g (%#x) is %g, want %g", v, math.Float32bits(v), got[i], want)
		}
	}
}

func TestLogitsAtExtremesHaveTheReferencesLoss(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	rows := [][3]float32{{-inf, 0, 1}, {1, -inf, -inf}, {-1e30, -1e30, 3}, {1e30, 1e30, 1e30}, {1, inf, 0}, {1, 0, nan}, {-inf, -inf, -inf}}
	for _, width := range []int{3, 1500} { // a warp a row, a block a row
		x, targets := make([]float32, len(rows)*width), make([]int32, len(rows))
		for r, row := range rows {
			targets[r] = int32(width - 3)
			for c := range width {
				x[r*width+c] = -inf
			}
			copy(x[(r+1)*width-3:], row[:])
		}
		losses := func(b device.Backend) []float32 {
			exec, err := b.Prepare(device.CrossEntropy{Rows: len(rows), Cols: width})
			if err != nil {
				t.Fatal(err)
			}
			in, _ := b.Alloc(device.Real, len(x))
			at, _ := b.Alloc(device.I32, len(rows))
			out, _ := b.Alloc(device.Real, len(rows))
			b.Write(in, x)
			b.Write(at, targets)
			exec.Run([]device.Buffer{in, at, out})
			loss := make([]float32, len(rows))
			b.Read(loss, out)
			return loss
		}
		got, want := losses(open(t, Options{})), losses(reference.New[float64](1))
		for r := range rows {
			if g, w := got[r], want[r]; g != w && !(g != g && w != w) && !(math.Abs(float64(g-w)) <= 1e-6*math.Abs(float64(w))) {
				t.Errorf("row %v among %d numbers: loss %g, want %g", rows[r], width, g, w)
			}
		}
	}
}

// The bias's gradient is summed while its rows are rounded for the products, when those come first.
func TestSumsMadeWhileRoundingAreThoseMadeAlone(t *testing.T) {
	b := open(t, Options{})
	const rows, out, in = 700, 36, 20
	prepare := func(k device.Kernel) device.Exec {
		x, err := b.Prepare(k)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	weights := prepare(device.MatMul{Batch: 1, M: out, N: in, K: rows, TransA: true, BF16: true})
	bias := prepare(device.SumRows{Rows: rows, Cols: out})
	add := prepare(device.Scale{N: rows * out})
	var bufs []device.Buffer
	for i, n := range []int{rows * out, rows * in, out * in, out} {
		x, err := b.Alloc(device.Real, n)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]float32, n)
		for j := range values {
			values[j] = float32(math.Sin(float64(i + 3*j)))
		}
		b.Write(x, values)
		bufs = append(bufs, x)
	}
	sums := func() []float32 {
		bias.Run([]device.Buffer{bufs[0], bufs[3]})
		y := make([]float32, out)
		b.Read(y, bufs[3])
		return y
	}
	for range 2 {
		b.ParamsChanged() // forgets copies
		alone := sums()
		weights.Run([]device.Buffer{bufs[0], bufs[1], nil, nil, bufs[2]})
		if b.halves.sums(asBuffer(bufs[0]).at, rows, out) == 0 {
			t.Fatal("rounding left no sums")
		}
		if together := sums(); !slices.Equal(alone, together) {
			t.Fatalf("sums are %v, alone they are %v", together, alone)
		}
		add.Run([]device.Buffer{bufs[0], bufs[0]}, 1, .3) // other sums: the old ones are not to be used
	}
}
