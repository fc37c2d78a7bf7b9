//go:build clipcuda

package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/fault"
)

// newLt opens cublasLt on a stream, with a workspace.
func newLt(t *testing.T, c *Context, s *Stream) *Lt {
	t.Helper()
	blas, err := c.OpenBLAS(s)
	must(t, err)
	must(t, blas.Destroy())
	workspace, err := c.Alloc(4 << 20)
	must(t, err)
	l, err := c.OpenLt(s, workspace, 4<<20)
	must(t, err)
	t.Cleanup(func() {
		must(t, l.Destroy())
		must(t, c.Free(workspace))
	})
	return l
}

// fused describes a Fused of small matrices; the places are flags.
type fused struct {
	Product
	residual, bias, rowSums bool
}

// places puts operands into device memory and returns what the product is, and what it gives.
func (f fused) places(t *testing.T, c *Context, s *Stream) (g Fused, want, sums []float32) {
	t.Helper()
	g.Product = f.Product
	g.M, g.N, g.K, g.Alpha = 4, 6, 8, 2
	plain := g.Product
	plain.LDA, plain.LDB, plain.LDC = dense(f.LDA, f.TransA, g.M, g.K), dense(f.LDB, f.TransB, g.K, g.N), dense(f.LDC, false, g.M, g.N)
	a, b, want := pattern(f.Batch*100, 3), pattern(f.Batch*100, 5), pattern(f.Batch*100, 2)
	g.A, g.B, g.C = array(t, c, s, typed(a, f.Type)), array(t, c, s, typed(b, f.Type)), array(t, c, s, typed(want, f.Result))
	if f.residual {
		want = pattern(f.Batch*100, 4)
		g.Residual = array(t, c, s, typed(want, f.Result))
	}
	g.StrideA, g.StrideB, g.StrideC = 100, 100, 100
	bias := pattern(g.N, 6)
	if f.bias {
		g.Bias = array(t, c, s, typed(bias, f.Result))
	}
	for i := range f.Batch {
		product(plain, a[100*i:], b[100*i:], want[100*i:])
		for j := range g.M * g.N {
			if f.bias {
				want[100*i+j/g.N*plain.LDC+j%g.N] += bias[j%g.N]
			}
		}
	}
	if f.rowSums {
		sums = make([]float32, g.M)
		g.RowSums = array(t, c, s, typed(pattern(g.M, 1), f.Result))
		for i := range g.M {
			for k := range g.K {
				at := i*plain.LDA + k
				if f.TransA {
					at = k*plain.LDA + i
				}
				sums[i] += a[at]
			}
		}
	}
	return g, want, sums
}

var fusedForms = []fused{
	{Product: Product{Batch: 1}},
	{Product: Product{Batch: 1, TransB: true}, bias: true},
	{Product: Product{Batch: 1, TransB: true, Type: BF16, Beta: 1}, bias: true, residual: true},
	{Product: Product{Batch: 3, TransA: true, Type: BF16, Beta: .5}, residual: true},
	{Product: Product{Batch: 2, TransB: true, LDA: 9, LDB: 10, TF32: true}, bias: true},
	{Product: Product{Batch: 1, Type: BF16, Result: BF16, Beta: 1}, bias: true, residual: true},
	{Product: Product{Batch: 1, Type: BF16, Result: BF16}},
	{Product: Product{Batch: 1, Type: BF16, TransA: true}, rowSums: true},
	{Product: Product{Batch: 1, Type: BF16, TransA: true, TransB: true, Beta: 1}, rowSums: true},
	{Product: Product{Batch: 1, Type: BF16}, rowSums: true},
	{Product: Product{Batch: 1, Beta: 1}, bias: true}, // onto C itself
}

func TestProductsOfCublasLtDoWhatFollowsThem(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	for _, f := range fusedForms {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			g, want, sums := f.places(t, c, s)
			done, err := l.Multiply(g)
			must(t, err)
			if !done {
				t.Fatal("there is no algorithm for it")
			}
			result, want := results(t, s, g.C, len(want), f.Result), slices.Clone(want)
			for i := range want { // what lies between rows and matrices is the same as before
				if i%100 >= g.M*g.N {
					want[i] = result[i]
				}
			}
			equal(t, result, want...)
			if f.rowSums {
				equal(t, results(t, s, g.RowSums, g.M, f.Result), sums...)
			}
		})
	}
}

func TestProductsOfCublasLtThatCannotBeAreInvalid(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	good := Fused{Product: Product{M: 1, N: 1, K: 1, Batch: 1}}
	for words, change := range map[string]func(*Fused){
		"1×0×1":                         func(f *Fused) { f.N = 0 },
		"no result in bfloat16":         func(f *Fused) { f.Result = BF16 },
		"neither a bias nor a batch":    func(f *Fused) { f.RowSums, f.Bias = 16, 16 },
		"with neither a bias nor a bat": func(f *Fused) { f.RowSums, f.Batch = 16, 2 },
	} {
		f := good
		change(&f)
		_, err := l.Multiply(f)
		refused(t, err, fault.Invalid, words)
	}
}

func TestTheFirstProductOfAFormIsNotCaptured(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	blas, err := c.OpenBLAS(s)
	must(t, err)
	defer blas.Destroy()
	g, want, _ := fusedForms[1].places(t, c, s)
	for name, multiply := range map[string]func() error{
		"cublasLt": func() error { _, err := l.Multiply(g); return err },
		"cuBLAS":   func() error { return blas.Multiply(g.Product) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Capture(multiply)
			refused(t, err, fault.Unavailable, "cannot be captured: it may load code")
			must(t, multiply())
			graph, err := s.Capture(multiply)
			must(t, err)
			must(t, graph.Launch(s))
			must(t, s.Synchronize())
			must(t, graph.Destroy())
		})
	}
	must(t, func() error { _, err := l.Multiply(g); return err }())
	equal(t, results(t, s, g.C, g.M*g.N, F32), want[:g.M*g.N]...)
}

// Views may begin anywhere, and an algorithm is only for the alignment that it was chosen for.
func TestAlgorithmsFitTheAlignmentOfTheirOperands(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	for offset := range 3 {
		a, b := array(t, c, s, pattern(64, 3)), array(t, c, s, pattern(64, 5))
		to, bias := array(t, c, s, pattern(64, 1)), array(t, c, s, pattern(64, 2))
		p := Product{M: 4, N: 5, K: 6, Batch: 1, Alpha: 1}
		by := Ptr(4 * offset)
		want := make([]float32, p.M*p.N)
		whole := p
		whole.LDA, whole.LDB, whole.LDC = 6, 5, 5
		product(whole, pattern(64, 3)[offset:], pattern(64, 5)[offset:], want)
		for i := range want {
			want[i] += pattern(64, 2)[offset+i%p.N]
		}
		p.A, p.B, p.C = a+by, b+by, to+by
		done, err := l.Multiply(Fused{Product: p, Bias: bias + by})
		must(t, err)
		if !done {
			t.Fatal("there is no algorithm for it")
		}
		equal(t, numbers(t, s, p.C, len(want)), want...)
	}
	if len(l.plans) != 3 { // aligned to 16, 4 and 8 bytes
		t.Errorf("%d plans, want 3", len(l.plans))
	}
}

// An algorithm that was chosen for a bias at a multiple of 256 serves the next, at one of 16.
func TestABiasMayLieElsewhereNextTime(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	g, _, _ := fusedForms[1].places(t, c, s)
	biases := array(t, c, s, pattern(64, 6))
	for _, at := range []Ptr{biases, biases + 16, biases + 32} {
		g.Bias = at
		done, err := l.Multiply(g)
		must(t, err)
		if !done {
			t.Fatal("there is no algorithm for it")
		}
	}
	must(t, s.Synchronize())
	if len(l.plans) != 1 {
		t.Errorf("%d plans, want 1", len(l.plans))
	}
}

func TestTriedAlgorithmsGiveTheProductAndStay(t *testing.T) {
	t.Setenv("TANDEM_CUBLASLT_TRIES", "2")
	c := open(t)
	s := stream(t, c)
	first, second := newLt(t, c, s), newLt(t, c, s)
	for _, f := range fusedForms {
		var chosen []int
		for _, l := range []*Lt{first, second} {
			g, want, _ := f.places(t, c, s)
			_, err := l.Multiply(g)
			must(t, err)
			if result := results(t, s, g.C, len(want), f.Result); !slices.Equal(result[:6], want[:6]) {
				t.Errorf("%+v is %v, want %v", f, result[:6], want[:6])
			}
			key := func() form { must(t, c.check(&g.Product, "")); k, _ := formOf(&g); return k }()
			chosen = append(chosen, l.plans[key].chosen)
		}
		if chosen[0] != chosen[1] {
			t.Errorf("%+v: two handles chose %v", f, chosen)
		}
	}
	if len(choices.of) == 0 {
		t.Error("nothing was timed")
	}
	for _, bad := range []string{"0", "8", "many"} {
		t.Setenv("TANDEM_CUBLASLT_TRIES", bad)
		_, err := c.OpenLt(s, 0, 0)
		refused(t, err, fault.Invalid, "TANDEM_CUBLASLT_TRIES is "+fmt.Sprintf("%q", bad), "from 1 to 7")
	}
}

// Without TANDEM_CUBLASLT_TRIES nothing is timed, so that every run has the same algorithm.
func TestTheFirstAlgorithmIsTakenByDefault(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	l := newLt(t, c, s)
	for _, f := range fusedForms {
		g, _, _ := f.places(t, c, s)
		_, err := l.Multiply(g)
		must(t, err)
	}
	for key, p := range l.plans {
		if p.chosen != 0 || p.lt.count != 1 {
			t.Errorf("%+v: algorithm %d of %d", key, p.chosen, p.lt.count)
		}
	}
}

func TestWithoutAlgorithmsCublasLtDoesNothing(t *testing.T) {
	double(t)
	c := open(t)
	s := stream(t, c)
	for lacks, want := range map[string][2]bool{"none": {false, false}, "plain": {true, false}} {
		t.Setenv("TANDEM_CUDA_DOUBLE_LT", lacks)
		l := newLt(t, c, s)
		for i, f := range fusedForms[:2] {
			g, _, _ := f.places(t, c, s)
			before := numbers(t, s, g.C, 24)
			done, err := l.Multiply(g)
			must(t, err)
			if done != want[i] {
				t.Errorf("a library with %s: done is %v", lacks, done)
			}
			if after := numbers(t, s, g.C, 24); !done && !slices.Equal(before, after) {
				t.Error("what is not done changes the result")
			}
		}
	}
}

func TestCublasLtIsTheOneBesideCuBLAS(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"libcublas.so.12", "libcublasLt.so.12", "libcublasLt.so.11"} {
		must(t, os.WriteFile(filepath.Join(root, file), nil, 0o666))
	}
	t.Setenv("TANDEM_CUBLASLT", "")
	for blas, want := range map[string]string{
		filepath.Join(root, "libcublas.so.12"): filepath.Join(root, "libcublasLt.so.12"),
		filepath.Join(root, "libcublas.so.11"): filepath.Join(root, "libcublasLt.so.11"),
		"libcublas.so.13":                      "libcublasLt.so.13",
		"/opt/libcublas.so.12.8.4":             "libcublasLt.so.12.8.4",
	} {
		if got := cublasLt(blas).candidates(); got[0] != want {
			t.Errorf("beside %s: %q, want %s first", blas, got, want)
		}
	}
}

func TestWithoutCublasLtItIsUnavailable(t *testing.T) {
	c := open(t)
	if alone(t, "TANDEM_CUBLASLT=/no/such/libcublasLt.so") {
		_, err := c.OpenLt(stream(t, c), 0, 0)
		refused(t, err, fault.Unavailable, "cublasLt is missing (/no/such/libcublasLt.so", "TANDEM_CUBLASLT")
	}
}

func TestCublasLtCanBeTurnedOff(t *testing.T) {
	c := open(t)
	if alone(t, "TANDEM_CUBLASLT=off") {
		_, err := c.OpenLt(stream(t, c), 0, 0)
		refused(t, err, fault.Unavailable, "cublasLt is off")
	}
}
