package reference

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"tandem/core/engine/device"
)

// gemm computes C = alpha·op(A)·op(B) + beta·C on the calling goroutine, beta being 0 or 1, with leading
// dimensions as in BLAS. float32 has a kernel in assembly where the processor has FMA; else Gonum
// multiplies.
func gemm[T Float](ta, tb bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	if fastGemm {
		if a, ok := any(a).([]float32); ok {
			sgemm(ta, tb, m, n, k, float32(alpha), a, lda, any(b).([]float32), ldb, beta != 0, any(c).([]float32), ldc)
			return
		}
	}
	for i := 0; i < m; i += tileM {
		for j := 0; j < n; j += tileN {
			tile(ta, tb, i, j, min(tileM, m-i), min(tileN, n-j), k, alpha, a, lda, b, ldb, beta, c, ldc)
		}
	}
}

// Gonum's gemm starts goroutines of its own for four or more blocks of 64×64, so that it would
// ignore our thread count. Tiles of 64×192 stay under that and keep a tile of C in the cache.
const (
	tileM = 64
	tileN = 192
)

// tile computes rows [i, i+m) and columns [j, j+n) of C, through Gonum.
func tile[T Float](ta, tb bool, i, j, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	a, b = operandAt(ta, a, lda, i), operandAt(!tb, b, ldb, j)
	c = c[i*ldc+j:]
	op := func(trans bool) blas.Transpose {
		if trans {
			return blas.Trans
		}
		return blas.NoTrans
	}
	switch a := any(a).(type) {
	case []float32:
		gonum.Implementation{}.Sgemm(op(ta), op(tb), m, n, k, float32(alpha), a, lda,
			any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	case []float64:
		gonum.Implementation{}.Dgemm(op(ta), op(tb), m, n, k, float64(alpha), a, lda,
			any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}

// operandAt returns X from row i on, or from column i on when X is stored transposed.
func operandAt[T Float](column bool, x []T, ld, i int) []T {
	if column {
		return x[i:]
	}
	return x[i*ld:]
}

// leadingDim returns the leading dimension of op(X) [rows, cols] as stored.
func leadingDim(trans bool, rows, cols int) int {
	if trans {
		return rows
	}
	return cols
}

// matMul splits C over goroutines along its longer side; products of a batch are split one by one.
func (b *Backend[T]) matMul(k device.MatMul) func(args[T], scalars) {
	lda, ldb := leadingDim(k.TransA, k.M, k.K), leadingDim(k.TransB, k.K, k.N)
	byRows := k.M >= k.N
	side, step, other := k.N, 48, k.M
	if byRows {
		side, other = k.M, k.N
	}
	pieces := 1
	if k.Batch == 1 {
		pieces = min(b.threads, (side+step-1)/step)
	}
	f, slope := activation[T](k.Act)
	return func(a args[T], s scalars) {
		alpha := T(s.at(0, 1))
		b.each(k.Batch*pieces, side*other*k.K/pieces/16, func(item int) {
			batch, piece := item/pieces, item%pieces
			lo, hi := piece*side/pieces, (piece+1)*side/pieces
			i, j, m, n := 0, lo, k.M, hi-lo
			if byRows {
				i, j, m, n = lo, 0, hi-lo, k.N
			}
			c := a[4].f[batch*k.M*k.N:]
			gemm(k.TransA, k.TransB, m, n, k.K, alpha, operandAt(k.TransA, a[0].f[batch*k.M*k.K:], lda, i), lda,
				operandAt(!k.TransB, a[1].f[batch*k.K*k.N:], ldb, j), ldb, 0, c[i*k.N+j:], k.N)
			for r := i; r < i+m; r++ {
				at := batch*k.M*k.N + r*k.N + j
				finish(k, a, f, slope, at, j, n)
			}
		})
	}
}

// withRowSums returns a product that also gives the sums of its left operand, when k has RowSums.
func (b *Backend[T]) withRowSums(k device.MatMul, product func(args[T], scalars)) func(args[T], scalars) {
	if !k.RowSums {
		return product
	}
	sum := b.sumRows(device.SumRows{Rows: k.K, Cols: k.M})
	return func(a args[T], s scalars) {
		product(a, s)
		sum(args[T]{a[0], a[len(a)-1]}, nil)
	}
}

// finish does what follows the product, on n numbers of C from offset at, column j, on.
func finish[T Float](k device.MatMul, a args[T], f, slope func(T) T, at, j, n int) {
	row := a[4].f[at : at+n]
	if k.Bias {
		for x, v := range a[2].f[j : j+n] {
			row[x] += v
		}
	}
	if k.Slope {
		out := a[5].f[at : at+n]
		for x, v := range row {
			out[x] = slope(v)
		}
	}
	if k.Act != device.Identity {
		for x, v := range row {
			row[x] = f(v)
		}
	}
	switch {
	case k.Residual:
		for x, v := range a[3].f[at : at+n] {
			row[x] += v
		}
	case k.Gate:
		for x, v := range a[3].f[at : at+n] {
			row[x] *= v
		}
	}
}
