package host

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"tandem/core/device"
)

// Gonum's gemm starts goroutines of its own for four or more blocks of 64×64, so that it would
// ignore our thread count. Tiles of 64×192 stay under that and keep a tile of C in the cache.
const (
	tileM = 64
	tileN = 192
)

// gemm is C = alpha·op(A)·op(B) + beta·C on the calling goroutine, with leading dimensions.
func gemm[T Float](ta, tb bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	for i := 0; i < m; i += tileM {
		for j := 0; j < n; j += tileN {
			tile(ta, tb, i, j, min(tileM, m-i), min(tileN, n-j), k, alpha, a, lda, b, ldb, beta, c, ldc)
		}
	}
}

// tile is gemm for rows [i, i+m) and columns [j, j+n) of C.
func tile[T Float](ta, tb bool, i, j, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	if ta {
		a = a[i:]
	} else {
		a = a[i*lda:]
	}
	if tb {
		b = b[j*ldb:]
	} else {
		b = b[j:]
	}
	c = c[i*ldc+j:]
	ops := map[bool]blas.Transpose{false: blas.NoTrans, true: blas.Trans}
	switch a := any(a).(type) {
	case []float32:
		gonum.Implementation{}.Sgemm(ops[ta], ops[tb], m, n, k, float32(alpha), a, lda,
			any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	case []float64:
		gonum.Implementation{}.Dgemm(ops[ta], ops[tb], m, n, k, float64(alpha), a, lda,
			any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}

// lead is the leading dimension of op(X) [rows, cols] as stored.
func lead(trans bool, rows, cols int) int {
	if trans {
		return rows
	}
	return cols
}

func (b *Backend[T]) matMul(k device.MatMul) func(args[T], scalars) {
	lda, ldb := lead(k.TransA, k.M, k.K), lead(k.TransB, k.K, k.N)
	rows, cols := (k.M+tileM-1)/tileM, (k.N+tileN-1)/tileN
	f, _ := activation[T](k.Act)
	return func(a args[T], s scalars) {
		alpha := T(s.at(0, 1))
		b.each(k.Batch*rows*cols, min(k.M, tileM)*min(k.N, tileN)*k.K/4, func(item int) {
			batch, t := item/(rows*cols), item%(rows*cols)
			i, j := t/cols*tileM, t%cols*tileN
			m, n := min(tileM, k.M-i), min(tileN, k.N-j)
			c := a[4].f[batch*k.M*k.N:]
			tile(k.TransA, k.TransB, i, j, m, n, k.K, alpha, a[0].f[batch*k.M*k.K:], lda,
				a[1].f[batch*k.K*k.N:], ldb, 0, c, k.N)
			for r := i; r < i+m; r++ {
				at := batch*k.M*k.N + r*k.N + j
				row := a[4].f[at : at+n]
				if k.Bias {
					for x, v := range a[2].f[j : j+n] {
						row[x] += v
					}
				}
				if k.Pre {
					copy(a[5].f[at:at+n], row)
				}
				if k.Act != device.Identity {
					for x, v := range row {
						row[x] = f(v)
					}
				}
				if k.Residual {
					for x, v := range a[3].f[at : at+n] {
						row[x] += v
					}
				}
			}
		})
	}
}
