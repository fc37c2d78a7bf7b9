package reference

import (
	"math"

	"tandem/core/engine/device"
)

// columns runs f on stretches of columns: each goroutine walks all rows of its own columns in order,
// so that sums over rows have the same bits for every thread count.
func (b *Backend[T]) columns(rows, cols int, f func(lo, hi int)) {
	b.split(cols, rows, func(_, lo, hi int) { f(lo, hi) })
}

func (b *Backend[T]) sumRows(k device.SumRows) func(args[T], scalars) {
	acc := make([]float64, k.Cols)
	return func(a args[T], _ scalars) {
		b.columns(k.Rows, k.Cols, func(lo, hi int) {
			clear(acc[lo:hi])
			for r := 0; r < k.Rows; r++ {
				for j, v := range a[0].f[r*k.Cols+lo : r*k.Cols+hi] {
					acc[lo+j] += float64(v)
				}
			}
			convert(a[1].f[lo:hi], acc[lo:hi])
		})
	}
}

func (b *Backend[T]) sumCols(k device.SumCols) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.Rows, k.Cols, func(i int) {
			var s float64
			for _, v := range a[0].f[i*k.Cols : (i+1)*k.Cols] {
				s += float64(v)
			}
			a[1].f[i] = T(s)
		})
	}
}

func (b *Backend[T]) broadcastRows(k device.BroadcastRows) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		scale := T(s.at(0, 1))
		b.each(k.Rows, k.Cols, func(i int) {
			out := a[1].f[i*k.Cols : (i+1)*k.Cols]
			for j, v := range a[0].f {
				out[j] = scale * v
			}
		})
	}
}

// moments returns the mean and 1/sqrt(var + eps) of a row.
func moments[T Float](x []T, eps float64) (mean, inverse float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	var variance float64
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, 1 / math.Sqrt(variance/float64(len(x))+eps)
}

func (b *Backend[T]) layerNorm(k device.LayerNorm) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		gamma, beta := a[1].f, a[2].f
		b.each(k.Rows, 4*k.Cols, func(i int) {
			x, y := a[0].f[i*k.Cols:(i+1)*k.Cols], a[3].f[i*k.Cols:(i+1)*k.Cols]
			mean, inverse := moments(x, k.Eps)
			for j, v := range x {
				y[j] = T((float64(v)-mean)*inverse)*gamma[j] + beta[j]
			}
		})
	}
}

func (b *Backend[T]) layerNormBack(k device.LayerNormBack) func(args[T], scalars) {
	means, inverses := make([]float64, k.Rows), make([]float64, k.Rows)
	dgamma, dbeta := make([]float64, k.Cols), make([]float64, k.Cols)
	first := 3 // output
	if k.Residual {
		first++
	}
	return func(a args[T], _ scalars) {
		gamma := a[1].f
		b.each(k.Rows, 8*k.Cols, func(i int) {
			at, end := i*k.Cols, (i+1)*k.Cols
			x, dy, dx := a[0].f[at:end], a[2].f[at:end], a[first].f[at:end]
			mean, inverse := moments(x, k.Eps)
			means[i], inverses[i] = mean, inverse
			// With g = dy·γ and x̂ the normalised row: dx = (g − mean(g) − x̂·mean(g·x̂))/σ.
			var sum, dot float64
			for j, v := range x {
				g := float64(dy[j]) * float64(gamma[j])
				sum += g
				dot += g * (float64(v) - mean) * inverse
			}
			sum /= float64(k.Cols)
			dot /= float64(k.Cols)
			for j, v := range x {
				g := float64(dy[j]) * float64(gamma[j])
				dx[j] = T((g - sum - (float64(v)-mean)*inverse*dot) * inverse)
			}
			if k.Residual {
				for j, v := range a[3].f[at:end] {
					dx[j] += v
				}
			}
		})
		b.columns(k.Rows, k.Cols, func(lo, hi int) {
			clear(dgamma[lo:hi])
			clear(dbeta[lo:hi])
			for i := 0; i < k.Rows; i++ {
				for j := lo; j < hi; j++ {
					g := float64(a[2].f[i*k.Cols+j])
					dbeta[j] += g
					dgamma[j] += g * (float64(a[0].f[i*k.Cols+j]) - means[i]) * inverses[i]
				}
			}
			convert(a[first+1].f[lo:hi], dgamma[lo:hi])
			convert(a[first+2].f[lo:hi], dbeta[lo:hi])
		})
	}
}

// norm returns the Euclidean length of a row.
func norm[T Float](x []T) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

func (b *Backend[T]) l2Norm(k device.L2Norm) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.Rows, 3*k.Cols, func(i int) {
			x, y := a[0].f[i*k.Cols:(i+1)*k.Cols], a[1].f[i*k.Cols:(i+1)*k.Cols]
			length := math.Max(norm(x), k.Eps)
			for j, v := range x {
				y[j] = T(float64(v) / length)
			}
		})
	}
}

func (b *Backend[T]) l2NormBack(k device.L2NormBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.Rows, 4*k.Cols, func(i int) {
			at, end := i*k.Cols, (i+1)*k.Cols
			x, dy, dx := a[0].f[at:end], a[1].f[at:end], a[2].f[at:end]
			length := norm(x)
			// Under Eps the divisor is a constant, so nothing is projected out.
			var dot float64
			if !(length < k.Eps) {
				for j, v := range x {
					dot += float64(v) * float64(dy[j])
				}
				dot /= length * length
			} else {
				length = k.Eps
			}
			for j, v := range x {
				dx[j] = T((float64(dy[j]) - float64(v)*dot) / length)
			}
		})
	}
}

// smoothingWeights returns the weights that label smoothing puts on the target and on every class.
func smoothingWeights(smooth float64, cols int) (target, all float64) {
	return 1 - smooth, smooth / float64(cols)
}

// logSumExp computes log Σ exp of a row, with its largest value taken out first.
func logSumExp[T Float](x []T) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, float64(v))
	}
	if math.IsInf(top, 0) || math.IsNaN(top) {
		return top
	}
	var s float64
	for _, v := range x {
		s += math.Exp(float64(v) - top)
	}
	return top + math.Log(s)
}

func (b *Backend[T]) crossEntropy(k device.CrossEntropy) func(args[T], scalars) {
	target, all := smoothingWeights(k.Smooth, k.Cols)
	return func(a args[T], _ scalars) {
		b.each(k.Rows, 16*k.Cols, func(i int) {
			x := a[0].f[i*k.Cols : (i+1)*k.Cols]
			loss := logSumExp(x) - target*float64(x[a[1].i[i]])
			if all != 0 {
				for _, v := range x {
					loss -= all * float64(v)
				}
			}
			a[2].f[i] = T(loss)
		})
	}
}

func (b *Backend[T]) crossEntropyBack(k device.CrossEntropyBack) func(args[T], scalars) {
	target, all := smoothingWeights(k.Smooth, k.Cols)
	return func(a args[T], _ scalars) {
		b.each(k.Rows, 16*k.Cols, func(i int) {
			x, dx := a[0].f[i*k.Cols:(i+1)*k.Cols], a[3].f[i*k.Cols:(i+1)*k.Cols]
			lse, dout := logSumExp(x), float64(a[2].f[i])
			for j, v := range x {
				q := all
				if j == int(a[1].i[i]) {
					q += target
				}
				dx[j] = T(dout * (math.Exp(float64(v)-lse) - q))
			}
		})
	}
}
