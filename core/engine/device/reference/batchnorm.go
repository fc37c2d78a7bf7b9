package reference

import (
	"math"

	"tandem/core/engine/device"
)

func (b *Backend[T]) batchNorm(k device.BatchNorm) func(args[T], scalars) {
	factor, shift := make([]T, k.C), make([]T, k.C)
	return func(a args[T], _ scalars) {
		mean, variance, gamma, beta := a[1].f[:k.C], a[1].f[k.C:], a[2].f, a[3].f
		for c := range factor {
			factor[c] = gamma[c] / T(math.Sqrt(float64(variance[c])+k.Eps))
			shift[c] = beta[c]
		}
		b.each(k.Rows, k.C, func(r int) {
			x, y := a[0].f[r*k.C:(r+1)*k.C], a[4].f[r*k.C:(r+1)*k.C]
			for c, v := range x {
				out := (v-mean[c])*factor[c] + shift[c]
				if k.Act == device.ReLU && out < 0 {
					out = 0
				}
				y[c] = out
			}
		})
	}
}

func (b *Backend[T]) batchNormBack(k device.BatchNormBack) func(args[T], scalars) {
	inverse, dgamma, dbeta := make([]float64, k.C), make([]float64, k.C), make([]float64, k.C)
	n := float64(k.Rows)
	return func(a args[T], _ scalars) {
		x, mean, variance, gamma, dy, dx := a[0].f, a[1].f[:k.C], a[1].f[k.C:], a[2].f, a[4].f, a[5].f
		grad := func(i int) float64 { return float64(dy[i]) }
		if k.Act == device.ReLU {
			y := a[3].f
			grad = func(i int) float64 {
				if y[i] > 0 {
					return float64(dy[i])
				}
				return 0
			}
		}
		b.columns(4*k.Rows, k.C, func(lo, hi int) {
			for c := lo; c < hi; c++ {
				inverse[c] = 1 / math.Sqrt(float64(variance[c])+k.Eps)
				dgamma[c], dbeta[c] = 0, 0
			}
			for r := 0; r < k.Rows; r++ {
				for c := lo; c < hi; c++ {
					g := grad(r*k.C + c)
					dbeta[c] += g
					dgamma[c] += g * (float64(x[r*k.C+c]) - float64(mean[c])) * inverse[c]
				}
			}
			for r := 0; r < k.Rows; r++ {
				for c := lo; c < hi; c++ {
					d := grad(r*k.C + c)
					if k.Training {
						// As in a layer norm, over the rows of a channel.
						hat := (float64(x[r*k.C+c]) - float64(mean[c])) * inverse[c]
						d -= dbeta[c]/n + hat*dgamma[c]/n
					}
					dx[r*k.C+c] = T(d * float64(gamma[c]) * inverse[c])
				}
			}
			convert(a[6].f[lo:hi], dgamma[lo:hi])
			convert(a[7].f[lo:hi], dbeta[lo:hi])
		})
	}
}

func (b *Backend[T]) runningStats(k device.RunningStats) func(args[T], scalars) {
	m := T(k.Momentum)
	// A single row has no unbiased variance; its biased one, 0, is taken.
	unbias := T(float64(k.Rows) / math.Max(float64(k.Rows-1), 1))
	return func(a args[T], _ scalars) {
		mean, variance := a[1].f, a[2].f
		for c := range mean {
			mean[c] = (1-m)*mean[c] + m*a[0].f[c]
			variance[c] = (1-m)*variance[c] + m*unbias*a[0].f[k.C+c]
		}
	}
}
