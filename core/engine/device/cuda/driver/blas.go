//go:build clipcuda

package driver

// #include "libraries.h"
import "C"

import (
	"fmt"
	"math"
	"sync"

	"tandem/core/fault"
)

// DType names the element type of matrices and maps.
type DType uint8

// The element types.
const (
	F32 DType = iota
	BF16
)

// libraries guards the opening of cuBLAS and cuDNN, which are opened once in a process.
var libraries sync.Mutex

// BLAS holds a cuBLAS handle on a stream.
type BLAS struct {
	c      *Context
	s      *Stream
	handle C.uintptr_t
	file   string
	warm   map[Product]bool // kinds of products that ran: all but places and factors
}

// OpenBLAS makes a handle whose work goes to s. Without the library it is Unavailable and says where
// it was looked for; TANDEM_CUBLAS may name its file or folder.
func (c *Context) OpenBLAS(s *Stream) (*BLAS, error) {
	file, err := findBLAS()
	if err != nil {
		return nil, err
	}
	b := &BLAS{c: c, file: file, warm: map[Product]bool{}}
	if err := b.do("cublasCreate", func() C.int { return C.tandem_blas_create(&b.handle) }); err != nil {
		return nil, err
	}
	err = b.SetStream(s)
	if err == nil {
		// 16 keeps reductions in float32 where operands are bfloat16.
		err = b.do("cublasSetMathMode", func() C.int { return C.tandem_blas_mode(b.handle, 16) })
	}
	if err != nil {
		b.Destroy()
		return nil, err
	}
	return b, nil
}

var blasFile string

// findBLAS opens the library and says which file it is.
func findBLAS() (string, error) {
	libraries.Lock()
	defer libraries.Unlock()
	if blasFile != "" {
		return blasFile, nil
	}
	cuda, _ := Version()
	file, err := cuBLAS(cuda).open(func(path *C.char) *C.char { return C.tandem_blas_open(path) })
	if err == nil {
		blasFile = file
	}
	return file, err
}

// Destroy ends the handle.
func (b *BLAS) Destroy() error {
	return b.do("cublasDestroy", func() C.int { return C.tandem_blas_destroy(b.handle) })
}

// SetStream sends later work to s; the workspace is the library's own again.
func (b *BLAS) SetStream(s *Stream) error {
	b.s = s
	return b.do("cublasSetStream", func() C.int { return C.tandem_blas_stream(b.handle, handleOf(s.s)) })
}

// SetWorkspace gives the handle memory to work in (32 MiB for Hopper, 4 MiB before), aligned to 256 bytes,
// which products inside a Graph and equal bits on every run need. It is the caller's to free, after b.
func (b *BLAS) SetWorkspace(p Ptr, bytes int64) error {
	return b.do("cublasSetWorkspace", func() C.int {
		return C.tandem_blas_workspace(b.handle, C.uintptr_t(p), C.size_t(bytes))
	})
}

// Version returns the library's version, as "12.8.4", and the file that dlopen was given.
func (b *BLAS) Version() (version, file string) {
	var v C.int
	if b.do("cublasGetVersion", func() C.int { return C.tandem_blas_version(b.handle, &v) }) != nil {
		return "of unknown version", b.file
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100), b.file
}

// Product describes a batch of row-major matrix products, C = Alpha·op(A)·op(B) + Beta·C:
//
//	op(A) [M, K]: A is [M, K], or [K, M] with TransA
//	op(B) [K, N]: B is [K, N], or [N, K] with TransB
//	C [M, N]
//
// A and B have Type, C has Result, which may be BF16 where Type is. LD is the distance of rows, Stride that of matrices (0 repeats one), both in
// elements; LD 0 means dense.
type Product struct {
	M, N, K, Batch            int
	TransA, TransB            bool
	A, B, C                   Ptr
	LDA, LDB, LDC             int
	StrideA, StrideB, StrideC int
	Type, Result              DType
	TF32                      bool // F32 operands may be rounded to TF32
	Alpha, Beta               float32
}

// check holds a product to the limits of the library, and completes its distances of rows.
func (c *Context) check(p *Product, call string) error {
	p.LDA, p.LDB, p.LDC = dense(p.LDA, p.TransA, p.M, p.K), dense(p.LDB, p.TransB, p.K, p.N), dense(p.LDC, false, p.M, p.N)
	for _, n := range []int{p.M, p.N, p.K, p.Batch, p.LDA, p.LDB, p.LDC} {
		if n < 1 || n > math.MaxInt32 {
			return fault.New(fault.Invalid, "%d×%d×%d, batch %d, rows %d, %d, %d apart: all must be 1 to %d",
				p.M, p.N, p.K, p.Batch, p.LDA, p.LDB, p.LDC, math.MaxInt32).WithOp(c.op(call))
		}
	}
	if p.Result == BF16 && p.Type != BF16 {
		return fault.New(fault.Invalid, "a product of float32 has no result in bfloat16").WithOp(c.op(call))
	}
	return nil
}

// Multiply enqueues a product. Sums are float32. The first product of a kind cannot be captured: it may load code, so
// it is fault.Unavailable.
func (b *BLAS) Multiply(p Product) error {
	const call = "cublasGemmStridedBatchedEx"
	if err := b.c.check(&p, call); err != nil {
		return err
	}
	kind := p
	kind.A, kind.B, kind.C, kind.Alpha, kind.Beta = 0, 0, 0, 0, 0
	if b.s.capturing && !b.warm[kind] {
		return fault.New(fault.Unavailable, "the first product %d×%d×%d, batch %d, cannot be captured: it may load code",
			p.M, p.N, p.K, p.Batch).WithOp(b.c.op(call))
	}
	// cuBLAS is column-major: what it takes for Cᵀ = op(B)ᵀ·op(A)ᵀ is C.
	g := C.struct_tandem_gemm{
		transpose_a: flag(p.TransB), transpose_b: flag(p.TransA),
		m: C.int(p.N), n: C.int(p.M), k: C.int(p.K), batch: C.int(p.Batch),
		_type: C.int(p.Type.code()), result: C.int(p.Result.code()), compute: C.int(p.compute()),
		alpha: C.float(p.Alpha), beta: C.float(p.Beta),
		a: C.uintptr_t(p.B), b: C.uintptr_t(p.A), c: C.uintptr_t(p.C),
		lda: C.int(p.LDB), ldb: C.int(p.LDA), ldc: C.int(p.LDC),
		stride_a: C.longlong(p.StrideB), stride_b: C.longlong(p.StrideA), stride_c: C.longlong(p.StrideC),
	}
	b.s.note(launched{name: "cuBLAS", grid: Dim{p.M, p.N, p.K}, shared: p.Batch})
	err := b.s.blame(b.do(call, func() C.int { return C.tandem_blas_gemm(b.handle, &g) }))
	if err == nil {
		b.warm[kind] = true
	}
	return err
}

// code returns the cudaDataType_t.
func (t DType) code() int {
	if t == BF16 {
		return 14
	}
	return 0
}

// compute returns the cublasComputeType_t.
func (p *Product) compute() int {
	if p.Type == F32 && p.TF32 {
		return 77 // CUBLAS_COMPUTE_32F_FAST_TF32
	}
	return 68 // CUBLAS_COMPUTE_32F
}

// dense returns ld, or by default the row length of a matrix that is [rows, columns] once transposed.
func dense(ld int, transposed bool, rows, columns int) int {
	switch {
	case ld != 0:
		return ld
	case transposed:
		return rows
	}
	return columns
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// do makes one call with the context current.
func (b *BLAS) do(call string, f func() C.int) error {
	return b.c.library(call, f, blasStatus)
}

// library makes one call of a library; say gives the words of its status and, for those that are no bug,
// their kind and remedy.
func (c *Context) library(call string, f func() C.int, say func(int) *fault.Error) error {
	var code C.int
	if err := c.do(call, func() error { code = f(); return nil }); err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	return say(int(code)).WithOp(c.op(call))
}

// blasStatus makes an error of a cublasStatus_t.
func blasStatus(code int) *fault.Error {
	name, ok := map[int]string{-1: "the library has no such entry", 1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED",
		7: "CUBLAS_STATUS_INVALID_VALUE", 8: "CUBLAS_STATUS_ARCH_MISMATCH", 11: "CUBLAS_STATUS_MAPPING_ERROR",
		13: "CUBLAS_STATUS_EXECUTION_FAILED", 14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED",
		16: "CUBLAS_STATUS_LICENSE_ERROR"}[code]
	if !ok {
		name = fmt.Sprintf("cuBLAS status %d", code)
	}
	switch code {
	case -1, 8, 15:
		return fault.New(fault.Unavailable, "%s", name).WithHint("use a newer cuBLAS: TANDEM_CUBLAS may name its file or folder")
	case 1:
		return fault.New(fault.Unavailable, "%s", name).
			WithHint("there is no memory left for cuBLAS, or it is newer than the driver: see runner devices and nvidia-smi")
	case 3:
		return fault.New(fault.Exhausted, "%s", name).WithHint("%s", remedies[outOfMemory].hint)
	}
	return fault.New(fault.Internal, "%s", name)
}
