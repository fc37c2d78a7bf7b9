package reference

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// fastGemm says that this processor can run kernel6x16.
var fastGemm = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func kernel6x16(k int64, a *float32, rs, cs int64, b *float32, c *float32, ldc int64, alpha float32, add int64)

const (
	kernelM = 6
	kernelN = 16
	// blockK keeps a packed panel of B, 16 columns of blockK rows, in the first cache, and blockN
	// panels of it in the second.
	blockK = 256
	blockN = 1024
)

// gemmScratch holds the memory of one product: packed B, and copies of the last rows of A and of the last tile
// of C, beyond whose ends kernel6x16 would otherwise read and write.
type gemmScratch struct {
	b    [blockK * blockN]float32
	a    [kernelM * blockK]float32
	tile [kernelM * kernelN]float32
}

var gemmPool = sync.Pool{New: func() any { return new(gemmScratch) }}

// sgemm computes gemm on float32 for beta 0 or 1. Each number of C is summed over K in the same order
// wherever it stands, so that splitting M and N changes no bits.
func sgemm(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, add bool, c []float32, ldc int) {
	// The last element of each is touched here, so that the kernel needs no checks.
	rs, cs := lda, 1
	if ta {
		rs, cs = 1, lda
	}
	_, _ = a[(m-1)*rs+(k-1)*cs], c[(m-1)*ldc+n-1]
	s := gemmPool.Get().(*gemmScratch)
	defer gemmPool.Put(s)
	for x := 0; x < k; x += blockK {
		kb := min(blockK, k-x)
		rest := m - m%kernelM
		for j := 0; j < n; j += blockN {
			nb := min(blockN, n-j)
			s.packB(tb, b, ldb, x, j, kb, nb)
			for i := 0; i < m; i += kernelM {
				from, frs, fcs := a[i*rs+x*cs:], rs, cs
				if i == rest {
					from, frs, fcs = s.packA(from, rs, cs, m-rest, kb), 1, kernelM
				}
				s.row(from, frs, fcs, kb, alpha, c[i*ldc+j:], ldc, min(kernelM, m-i), nb, add || x > 0)
			}
		}
	}
}

// packB copies op(B)[x:x+kb, j:j+nb] into panels of 16 columns, row after row; missing columns are 0.
func (s *gemmScratch) packB(tb bool, b []float32, ldb, x, j, kb, nb int) {
	for p := 0; p < nb; p += kernelN {
		w := min(kernelN, nb-p)
		panel := s.b[p*kb : (p+kernelN)*kb]
		if w < kernelN {
			clear(panel)
		}
		if !tb {
			for r := range kb {
				copy(panel[r*kernelN:r*kernelN+w], b[(x+r)*ldb+j+p:])
			}
			continue
		}
		for col := range w {
			src := b[(j+p+col)*ldb+x:]
			src = src[:kb]
			for r, v := range src {
				panel[r*kernelN+col] = v
			}
		}
	}
}

// packA copies the last rows of A, padded with zeros to six.
func (s *gemmScratch) packA(a []float32, rs, cs, rows, kb int) []float32 {
	out := s.a[:kernelM*kb]
	clear(out)
	for i := range rows {
		for r := range kb {
			out[r*kernelM+i] = a[i*rs+r*cs]
		}
	}
	return out
}

// row computes rows of C, six at most, against all panels.
func (s *gemmScratch) row(a []float32, rs, cs, kb int, alpha float32, c []float32, ldc, rows, nb int, add bool) {
	const size = int(unsafe.Sizeof(float32(0)))
	var adding int64
	if add {
		adding = 1
	}
	for p := 0; p < nb; p += kernelN {
		panel := &s.b[p*kb]
		if rows == kernelM && nb-p >= kernelN {
			kernel6x16(int64(kb), &a[0], int64(rs*size), int64(cs*size), panel, &c[p], int64(ldc*size), alpha, adding)
			continue
		}
		kernel6x16(int64(kb), &a[0], int64(rs*size), int64(cs*size), panel, &s.tile[0], int64(kernelN*size), alpha, 0)
		for i := range rows {
			dst := c[i*ldc+p : i*ldc+min(p+kernelN, nb)]
			for j, v := range s.tile[i*kernelN : i*kernelN+len(dst)] {
				if add {
					v += dst[j]
				}
				dst[j] = v
			}
		}
	}
}
