//go:build clipcuda

package driver

// #include "lt.h"
import "C"

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
)

// Lt holds a cublasLt handle on a stream: products that do more while they write their result. It remembers the
// algorithm of every shape.
type Lt struct {
	c         *Context
	s         *Stream
	handle    C.uintptr_t
	file      string
	workspace Ptr
	bytes     int64
	tries     int
	plans     map[form]*plan
}

// Fused describes a Product with more: C = Alpha·op(A)·op(B) + Beta·Residual + Bias. The residual, the bias and the sums
// have the type of C.
type Fused struct {
	Product
	Residual Ptr // [M, N], as C lies in memory; 0: C itself
	Bias     Ptr // [N]; 0: none
	RowSums  Ptr // [M]: is set to Σ over K of op(A); 0: not wanted. Neither with Bias nor in a batch
}

// form holds what the choice of an algorithm depends on.
type form struct {
	M, N, K, Batch            int
	TransA, TransB            bool
	LDA, LDB, LDC             int
	StrideA, StrideB, StrideC int
	Type, Result              DType
	TF32                      bool
	epilogue                  int
	alignment                 [5]int // of A, B, Residual, C, and Bias or RowSums
}

// plan holds the descriptors of a form and its algorithms; count 0: cublasLt has none.
type plan struct {
	lt     C.struct_tandem_lt
	chosen int
	warm   bool // it ran
}

// The epilogues of cublasLt that are used. Its operands are ours, swapped: it is column-major.
const (
	plainEpilogue   = 1
	biasEpilogue    = 4
	rowSumsEpilogue = 512 // of what is its B
)

var ltFile string

// OpenLt makes a handle whose work goes to s and may use bytes of memory at workspace, aligned to 256, which
// stays the caller's. The library is the one beside cuBLAS, which OpenBLAS found. Where there is none it is Unavailable;
// TANDEM_CUBLASLT may name its file or folder, or be off.
func (c *Context) OpenLt(s *Stream, workspace Ptr, bytes int64) (*Lt, error) {
	tries, err := triesOf(os.Getenv("TANDEM_CUBLASLT_TRIES"))
	if err != nil {
		return nil, err
	}
	file, err := findLt()
	if err != nil {
		return nil, err
	}
	l := &Lt{c: c, s: s, file: file, workspace: workspace, bytes: bytes, tries: tries, plans: map[form]*plan{}}
	if err := l.do("cublasLtCreate", func() C.int { return C.tandem_lt_create(&l.handle) }); err != nil {
		return nil, err
	}
	return l, nil
}

// findLt opens the library and says which file it is.
func findLt() (string, error) {
	libraries.Lock()
	defer libraries.Unlock()
	if ltFile != "" {
		return ltFile, nil
	}
	if os.Getenv("TANDEM_CUBLASLT") == "off" {
		return "", fault.New(fault.Unavailable, "cublasLt is off (TANDEM_CUBLASLT)")
	}
	file, err := cublasLt(blasFile).open(func(path *C.char) *C.char { return C.tandem_lt_open(path) })
	if err == nil {
		ltFile = file
	}
	return file, err
}

// cublasLt describes the library that belongs to a file of cuBLAS.
func cublasLt(blas string) library {
	folder, name := filepath.Split(blas)
	l := library{name: "cublasLt", variable: "TANDEM_CUBLASLT", pip: "nvidia-cublas-cu12"}
	_, version, ok := strings.Cut(name, ".so.")
	if !ok {
		version = "12"
	}
	major, _, _ := strings.Cut(version, ".")
	l.sonames = slices.Compact([]string{"libcublasLt.so." + version, "libcublasLt.so." + major})
	l.beside = folder
	return l
}

// Version returns the library's version, as "12.8.4", and the file that dlopen was given.
func (l *Lt) Version() (version, file string) {
	v := int(C.tandem_lt_version())
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100), l.file
}

// Destroy ends the handle.
func (l *Lt) Destroy() error {
	for _, p := range l.plans {
		C.tandem_lt_free(&p.lt)
	}
	clear(l.plans)
	return l.do("cublasLtDestroy", func() C.int { return C.tandem_lt_destroy(l.handle) })
}

// Multiply enqueues a product. It reports false when cublasLt has no algorithm for it: nothing is enqueued then. The
// algorithm is the first that the library offers, which is the same on every run (TANDEM_CUBLASLT_TRIES: see choose). The first
// product of a form cannot be captured: it may load code, so it is fault.Unavailable.
func (l *Lt) Multiply(f Fused) (bool, error) {
	p, err := l.plan(&f)
	if err != nil || p.lt.count == 0 {
		return false, err
	}
	if !p.warm {
		if l.s.capturing {
			return false, fault.New(fault.Unavailable, "the first product %d×%d×%d, batch %d, cannot be captured: it may load code",
				f.M, f.N, f.K, f.Batch).WithOp(l.c.op("cublasLtMatmul"))
		}
		if err := l.choose(p, f); err != nil {
			return false, err
		}
		p.warm = true
	}
	l.s.note(launched{name: "cublasLt", grid: Dim{f.M, f.N, f.K}, shared: f.Batch})
	return true, l.s.blame(l.run(p, f, p.chosen))
}

// run enqueues a product by one of its algorithms.
func (l *Lt) run(p *plan, f Fused, which int) error {
	residual, bias := f.Residual, f.Bias
	if residual == 0 {
		residual = f.C
	}
	if f.RowSums != 0 {
		bias = f.RowSums
	}
	return l.do("cublasLtMatmul", func() C.int {
		return C.tandem_lt_run(l.handle, &p.lt, C.int(which), C.float(f.Alpha), C.uintptr_t(f.B), C.uintptr_t(f.A), C.float(f.Beta),
			C.uintptr_t(residual), C.uintptr_t(f.C), C.uintptr_t(bias), C.uintptr_t(l.workspace), C.size_t(l.bytes), handleOf(l.s.s))
	})
}

// plan returns the algorithms of a product. It completes the product's distances of rows.
func (l *Lt) plan(f *Fused) (*plan, error) {
	if err := l.c.check(&f.Product, "cublasLtMatmul"); err != nil {
		return nil, err
	}
	if f.RowSums != 0 && (f.Bias != 0 || f.Batch > 1) {
		return nil, fault.New(fault.Invalid, "the sums of rows come with neither a bias nor a batch").WithOp(l.c.op("cublasLtMatmul"))
	}
	key, bias := formOf(f)
	if p := l.plans[key]; p != nil {
		return p, nil
	}
	if bias != 0 {
		bias = Ptr(key.alignment[4])
	}
	p := &plan{}
	p.lt = C.struct_tandem_lt{
		transpose_a: flag(f.TransB), transpose_b: flag(f.TransA),
		m: C.int(f.N), n: C.int(f.M), k: C.int(f.K), batch: C.int(f.Batch),
		_type: C.int(f.Type.code()), result: C.int(f.Result.code()), compute: C.int(f.compute()), epilogue: C.int(key.epilogue),
		lda: C.int(f.LDB), ldb: C.int(f.LDA), ldc: C.int(f.LDC),
		stride_a: C.longlong(f.StrideB), stride_b: C.longlong(f.StrideA), stride_c: C.longlong(f.StrideC),
		align_a: C.int(key.alignment[1]), align_b: C.int(key.alignment[0]), align_c: C.int(key.alignment[2]), align_d: C.int(key.alignment[3]),
	}
	most := max(l.tries, 1)
	err := l.do("cublasLtMatmulAlgoGetHeuristic", func() C.int {
		// One more than is used: some that are offered may not be for use. Of a bias the heuristic sees the alignment alone.
		return C.tandem_lt_plan(l.handle, &p.lt, C.uintptr_t(bias), C.size_t(l.bytes), C.int(min(most+1, C.TANDEM_LT_MOST)))
	})
	if err != nil {
		C.tandem_lt_free(&p.lt)
		return nil, err
	}
	if p.lt.count = min(p.lt.count, C.int(most)); p.lt.count == 0 {
		log.Printf("%s has no algorithm for %+v: it is done by other means", l.c.op("cublasLt"), key)
	}
	l.plans[key] = p
	return p, nil
}

// formOf returns the form of a product, and the pointer that its epilogue has.
func formOf(f *Fused) (form, Ptr) {
	k := form{M: f.M, N: f.N, K: f.K, Batch: f.Batch, TransA: f.TransA, TransB: f.TransB, LDA: f.LDA, LDB: f.LDB, LDC: f.LDC,
		StrideA: f.StrideA, StrideB: f.StrideB, StrideC: f.StrideC, Type: f.Type, Result: f.Result, TF32: f.TF32, epilogue: plainEpilogue}
	residual, more := f.Residual, Ptr(0)
	if residual == 0 {
		residual = f.C
	}
	switch {
	case f.Bias != 0:
		k.epilogue, more = biasEpilogue, f.Bias
	case f.RowSums != 0:
		k.epilogue, more = rowSumsEpilogue, f.RowSums
	}
	for i, at := range []Ptr{f.A, f.B, residual, f.C, more} {
		k.alignment[i] = alignment(at)
	}
	return k, more
}

// alignment returns the largest power of two, up to 16, that divides an address: more helps no algorithm.
func alignment(at Ptr) int {
	n := 16
	for int(at)%n != 0 {
		n /= 2
	}
	return n
}

// do makes one call with the context current.
func (l *Lt) do(call string, f func() C.int) error {
	return l.c.library(call, f, blasStatus)
}
