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
			x, y := a[0].f[r*k.C:(r+1)*k.C], a[5].f[r*k.C:(r+1)*k.C]
			for c, v := range x {
				out := (v-mean[c])*factor[c] + shift[c]
				if k.Residual {
					out += a[4].f[r*k.C+c]
				}
				if k.Act == device.ReLU && out < 0 {
					out = 0
				}
				y[c] = out
			}
		})
	}
}

// passes returns a function that tells through which elements of a batch norm's output ReLU lets the gradient.
func passes[T Float](k device.BatchNormBack, a args[T]) func(r, c int) bool {
	switch {
	case k.Act != device.ReLU:
		return func(_, _ int) bool { return true }
	case k.Residual:
		return func(r, c int) bool { return a[4].f[r*k.C+c] > 0 }
	}
	x, mean, variance, gamma, beta := a[0].f, a[1].f[:k.C], a[1].f[k.C:], a[2].f, a[3].f
	factor := make([]T, k.C)
	for c := range factor {
		factor[c] = gamma[c] / T(math.Sqrt(float64(variance[c])+k.Eps))
	}
	return func(r, c int) bool { return (x[r*k.C+c]-mean[c])*factor[c]+beta[c] > 0 }
}

func (b *Backend[T]) batchNormBack(k device.BatchNormBack) func(args[T], scalars) {
	inverse, dgamma, dbeta := make([]float64, k.C), make([]float64, k.C), make([]float64, k.C)
	n := float64(k.Rows)
	return func(a args[T], _ scalars) {
		x, mean, variance, gamma, dy, dx := a[0].f, a[1].f[:k.C], a[1].f[k.C:], a[2].f, a[5].f, a[6].f
		pass := passes(k, a)
		grad := func(r, c int) float64 {
			if pass(r, c) {
				return float64(dy[r*k.C+c])
			}
			return 0
		}
		b.columns(4*k.Rows, k.C, func(lo, hi int) {
			for c := lo; c < hi; c++ {
				inverse[c] = 1 / math.Sqrt(float64(variance[c])+k.Eps)
				dgamma[c], dbeta[c] = 0, 0
			}
			for r := 0; r < k.Rows; r++ {
				for c := lo; c < hi; c++ {
					g := grad(r, c)
					dbeta[c] += g
					dgamma[c] += g * (float64(x[r*k.C+c]) - float64(mean[c])) * inverse[c]
				}
			}
			for r := 0; r < k.Rows; r++ {
				for c := lo; c < hi; c++ {
					d := grad(r, c)
					if k.Residual {
						a[9].f[r*k.C+c] = T(d)
					}
					if k.Training {
						// As in a layer norm, over the rows of a channel.
						hat := (float64(x[r*k.C+c]) - float64(mean[c])) * inverse[c]
						d -= dbeta[c]/n + hat*dgamma[c]/n
					}
					dx[r*k.C+c] = T(d * float64(gamma[c]) * inverse[c])
				}
			}
			convert(a[7].f[lo:hi], dgamma[lo:hi])
			convert(a[8].f[lo:hi], dbeta[lo:hi])
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
