package probe

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Nearest classifies by the K training examples with the greatest cosine.
type Nearest struct {
	K int // at least 1; with fewer examples, all of them vote
	// Temperature τ weighs the vote of an example with cosine s by exp(s/τ) (Wu et al. 2018, §3.4; Caron et al. 2021, DINO, take
	// K = 20 and τ = 0.07). 0: every vote counts the same.
	Temperature float64
}

// Scores calls f with the votes of each row of x, [N, Dim], in order: out[class] is the sum of the weights of its neighbours. The
// rows and train's are unit vectors. Of training examples with the same cosine the earlier ones are nearer. out is used again.
func (n Nearest) Scores(train Examples, x []float32, f func(i int, out []float32)) {
	const block = 64
	rows, d, m := len(x)/train.Dim, train.Dim, train.Len()
	cosines := make([]float32, block*m)
	out, near := make([]float32, train.Classes), make([]int, 0, n.K)
	for at := 0; at < rows; at += block {
		b := min(block, rows-at)
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, blas32.General{Rows: b, Cols: d, Stride: d, Data: x[at*d : (at+b)*d]},
			blas32.General{Rows: m, Cols: d, Stride: d, Data: train.X}, 0, blas32.General{Rows: b, Cols: m, Stride: m, Data: cosines[:b*m]})
		for i := range b {
			row := cosines[i*m : (i+1)*m]
			near = greatest(near[:0], row, n.K)
			clear(out)
			for _, j := range near {
				out[train.Y[j]] += n.weight(row[j], row[near[0]])
			}
			f(at+i, out)
		}
	}
}

// weight returns the weight of a vote, relative to that of the nearest: exponentials of large numbers overflow.
func (n Nearest) weight(cosine, best float32) float32 {
	if n.Temperature == 0 {
		return 1
	}
	return float32(math.Exp(float64(cosine-best) / n.Temperature))
}

// greatest appends the indices of the k greatest values, greatest first; ties go to the lower index.
func greatest(top []int, values []float32, k int) []int {
	for i, v := range values {
		if len(top) == k && !(v > values[top[k-1]]) {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, v, func(j int, v float32) int {
			if values[j] >= v {
				return -1
			}
			return 1
		})
		if len(top) < k {
			top = append(top, 0)
		}
		copy(top[at+1:], top[at:])
		top[at] = i
	}
	return top
}

// Prototypes returns the nearest-mean classifier of Snell et al. 2017 for unit vectors: the score of a class is the cosine with
// the mean of its examples, brought to length 1. A class without examples scores below every other.
func Prototypes(e Examples) Linear {
	l := Linear{Classes: e.Classes, Dim: e.Dim, W: make([]float64, e.Classes*e.Dim), B: make([]float64, e.Classes)}
	seen := make([]bool, e.Classes)
	for i, y := range e.Y {
		seen[y] = true
		row := l.W[int(y)*e.Dim:]
		for j, v := range e.Row(i) {
			row[j] += float64(v)
		}
	}
	for k := range l.Classes {
		row := l.W[k*e.Dim : (k+1)*e.Dim]
		norm := math.Max(math.Sqrt(dot(row, row)), 1e-12)
		for j := range row {
			row[j] /= norm
		}
		if !seen[k] {
			l.B[k] = -2
		}
	}
	return l
}
