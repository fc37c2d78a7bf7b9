//go:build onednn

package onednn

import (
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

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

func TestKernelsMatchTheReference(t *testing.T) {
	for _, threads := range []int{1, 3} {
		b := open(t, threads)
		t.Run(b.Name(), func(t *testing.T) {
			for _, c := range devicetest.Trials() {
				devicetest.Compare(t, b, c)
			}
			devicetest.CompareFused(t, b)
		})
	}
}

func TestNarrowInstructionSetsMatchTheReference(t *testing.T) {
	everyISA(t, 2, func(t *testing.T, b device.Backend) {
		for _, c := range devicetest.Trials() {
			switch c.Kernel.(type) {
			case device.ConvForward, device.ConvBackData, device.ConvBackWeights:
				// oneDNN's own convolutions do not depend on TANDEM_ISA, those of rounded operands do.
				if c.Kernel != device.WithBF16(c.Kernel) {
					continue
				}
			}
			devicetest.Compare(t, b, c)
		}
		devicetest.CompareFused(t, b)
	})
}

func TestEqualInputsGiveEqualBits(t *testing.T) {
	devicetest.EqualBits(t, open(t, 3), open(t, 3), devicetest.Trials())
}

// everyISA runs a test with each set of instructions that this processor has: backends of one name are of one
// set.
func everyISA(t *testing.T, threads int, test func(t *testing.T, b device.Backend)) {
	seen := map[string]bool{}
	for _, isa := range []string{"avx512", "avx2", "generic"} {
		t.Setenv("TANDEM_ISA", isa)
		if b := open(t, threads); !seen[b.Name()] {
			seen[b.Name()] = true
			t.Run(b.Name(), func(t *testing.T) { test(t, b) })
		}
	}
}

func TestItemsDoNotDependOnTheirBatch(t *testing.T) {
	trials := slices.Concat(devicetest.Trials(), devicetest.Random(3, 300))
	everyISA(t, 3, func(t *testing.T, b device.Backend) { devicetest.Alone(t, b, trials) })
}

// A product of our own adds up an element in one order, however its rows are split.
func TestProductsDoNotDependOnTheThreads(t *testing.T) {
	t.Setenv("TANDEM_ISA", "avx2")
	one, three := open(t, 1), open(t, 3)
	for _, k := range []device.MatMul{{Batch: 1, M: 70, N: 200, K: 500}, {Batch: 1, M: 5, N: 999, K: 700, TransB: true}, {Batch: 3, M: 300, N: 48, K: 40, TransA: true}} {
		a, b := devicetest.Run(t, one, devicetest.Trial{Kernel: k}), devicetest.Run(t, three, devicetest.Trial{Kernel: k})
		if own := one.(*Backend); own.be.wide == 0 && !slices.Equal(a[0], b[0]) {
			t.Errorf("%+v: one thread and three give different bits", k)
		}
	}
}

func TestActivationsAtExtremes(t *testing.T) { devicetest.Extremes(t, open(t, 1)) }
func TestNaNReachesTheOutputOfAMatMul(t *testing.T) {
	devicetest.NaN(t, open(t, 2))
}
func TestRunPanicsOnWrongArguments(t *testing.T) { devicetest.WrongArguments(t, open(t, 1)) }
func TestMemoryKeepsWhatIsWritten(t *testing.T)  { devicetest.Memory(t, open(t, 1)) }

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
	exec, err := b.Prepare(device.MatMul{Batch: 1, M: 512, N: 512, K: 512, TransB: true, Weights: true})
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

func TestKernelsOfRandomShapesMatchTheReference(t *testing.T) {
	b := open(t, 2)
	for _, c := range devicetest.Random(1, 600) {
		devicetest.Compare(t, b, c)
	}
}
