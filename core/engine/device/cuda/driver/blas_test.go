//go:build clipcuda

package driver

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"tandem/core/fault"
)

// pattern returns n small numbers that are exact in bfloat16, so that products are exact in any order.
func pattern(n, step int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((i*step)%7-3) / 4
	}
	return v
}

// product computes one matrix product of Product by plain loops.
func product(p Product, a, b, c []float32) {
	for i := range p.M {
		for j := range p.N {
			sum := float32(0)
			for k := range p.K {
				x, y := i*p.LDA+k, k*p.LDB+j
				if p.TransA {
					x = k*p.LDA + i
				}
				if p.TransB {
					y = j*p.LDB + k
				}
				sum += a[x] * b[y]
			}
			c[i*p.LDC+j] = p.Alpha*sum + p.Beta*c[i*p.LDC+j]
		}
	}
}

func TestProductsAreRowMajor(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	blas, err := c.OpenBLAS(s)
	must(t, err)
	defer func() { must(t, blas.Destroy()) }()
	workspace, err := c.Alloc(4 << 20)
	must(t, err)
	defer c.Free(workspace)
	must(t, blas.SetWorkspace(workspace, 4<<20))
	for _, p := range []Product{
		{Batch: 1},
		{Batch: 1, TransA: true},
		{Batch: 1, TransB: true, Beta: 1},
		{Batch: 3, TransA: true, TransB: true, Beta: .5},
		{Batch: 3, TransB: true, LDA: 9, LDB: 10, LDC: 11},
		{Batch: 2, Type: BF16},
		{Batch: 2, Type: BF16, Result: BF16, TransB: true},
		{Batch: 1, Type: BF16, TransA: true, Beta: 1},
		{Batch: 1, TF32: true},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			p.M, p.N, p.K, p.Alpha = 4, 5, 6, 2
			plain := p
			plain.LDA, plain.LDB, plain.LDC = dense(p.LDA, p.TransA, p.M, p.K), dense(p.LDB, p.TransB, p.K, p.N), dense(p.LDC, false, p.M, p.N)
			a, b, want := pattern(p.Batch*100, 3), pattern(p.Batch*100, 5), pattern(p.Batch*100, 2)
			p.A, p.B, p.C = array(t, c, s, typed(a, p.Type)), array(t, c, s, typed(b, p.Type)), array(t, c, s, typed(want, p.Result))
			p.StrideA, p.StrideB, p.StrideC = 100, 100, 100
			must(t, blas.Multiply(p))
			for i := range p.Batch {
				product(plain, a[100*i:], b[100*i:], want[100*i:])
			}
			equal(t, results(t, s, p.C, len(want), p.Result), want...)
		})
	}
}

// typed returns numbers as they lie in memory of a type, in words of four bytes.
func typed(v []float32, t DType) []float32 {
	if t == BF16 {
		return halves(v)
	}
	return v
}

// results reads n numbers of a type.
func results(t *testing.T, s *Stream, at Ptr, n int, of DType) []float32 {
	t.Helper()
	if of == F32 {
		return numbers(t, s, at, n)
	}
	v := make([]float32, n)
	for i, pair := range numbers(t, s, at, n/2) {
		bits := math.Float32bits(pair)
		v[2*i], v[2*i+1] = math.Float32frombits(bits<<16), math.Float32frombits(bits&0xffff0000)
	}
	return v
}

// halves packs numbers that are exact in bfloat16, two in a float32.
func halves(v []float32) []float32 {
	packed := make([]float32, len(v)/2)
	for i := range packed {
		low, high := math.Float32bits(v[2*i])>>16, math.Float32bits(v[2*i+1])>>16
		*(*uint32)(unsafe.Pointer(&packed[i])) = low | high<<16
	}
	return packed
}

func TestProductsThatCannotBeAreInvalid(t *testing.T) {
	c := open(t)
	blas, err := c.OpenBLAS(stream(t, c))
	must(t, err)
	defer blas.Destroy()
	refused(t, blas.Multiply(Product{M: 0, N: 1, K: 1, Batch: 1}), fault.Invalid, "0×1×1")
	refused(t, blas.Multiply(Product{M: 1, N: 1, K: 1 << 31, Batch: 1}), fault.Invalid, "2147483648")
}

func TestWithoutCuBLASTheRemedyIsTold(t *testing.T) {
	c := open(t)
	if alone(t, "TANDEM_CUBLAS=/no/such/libcublas.so") {
		_, err := c.OpenBLAS(stream(t, c))
		refused(t, err, fault.Unavailable, "cuBLAS is missing (/no/such/libcublas.so", "pip install nvidia-cublas-cu", "TANDEM_CUBLAS")
	}
}

func TestCuBLASIsOneThatTheDriverRuns(t *testing.T) {
	for cuda, want := range map[int][]string{
		11080: {"libcublas.so.11", "libcublas.so.12", "libcublas.so.13"},
		12040: {"libcublas.so.12", "libcublas.so.11", "libcublas.so.13"},
		13000: {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"},
	} {
		if got := cuBLAS(cuda).sonames; !slices.Equal(got, want) {
			t.Errorf("for CUDA %d: %q, want %q", cuda, got, want)
		}
	}
}

func TestLibrariesAreLookedForWhereToolkitsAndWheelsPutThem(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"cuda/lib64/libcublas.so.12", "venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.11",
		"venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12", "given/libcublas.so.11",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o777))
		must(t, os.WriteFile(filepath.Join(root, file), nil, 0o666))
	}
	t.Setenv("CUDA_HOME", filepath.Join(root, "cuda"))
	t.Setenv("VIRTUAL_ENV", filepath.Join(root, "venv"))
	t.Setenv("TANDEM_CUBLAS", "")
	var ours []string
	paths := cuBLAS(12040).candidates()
	for _, p := range paths {
		if inside, err := filepath.Rel(root, p); err == nil && filepath.IsLocal(inside) && filepath.IsAbs(p) {
			ours = append(ours, inside)
		}
	}
	wheel := "venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so."
	if want := []string{"cuda/lib64/libcublas.so.12", wheel + "12", wheel + "11"}; paths[0] != "libcublas.so.12" || !slices.Equal(ours, want) {
		t.Errorf("got %q, want what the loader finds and then %q", paths, want)
	}
	t.Setenv("TANDEM_CUBLAS", filepath.Join(root, "given"))
	if got := cuBLAS(12040).candidates(); !slices.Equal(got, []string{filepath.Join(root, "given/libcublas.so.11")}) {
		t.Errorf("got %q, want the given folder alone", got)
	}
}
