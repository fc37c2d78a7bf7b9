package reference

import (
	"math"

	"tandem/core/engine/device"
)

func (b *Backend[T]) adamW(k device.AdamW) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		g, p, m, v := a[0].f, a[1].f, a[2].f, a[3].f
		lr, decay, scale, step := s.need(0, "lr"), s.need(1, "decay"), s.need(2, "gradScale"), s.need(3, "step")
		b1, b2 := k.Beta1, k.Beta2
		c1, c2 := 1/(1-math.Pow(b1, step)), 1/(1-math.Pow(b2, step))
		b.split(k.N, 8, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				grad := float64(g[i]) * scale
				mi := b1*float64(m[i]) + (1-b1)*grad
				vi := b2*float64(v[i]) + (1-b2)*grad*grad
				m[i], v[i] = T(mi), T(vi)
				pi := float64(p[i])
				p[i] = T(pi - lr*(decay*pi+mi*c1/(math.Sqrt(vi*c2)+k.Eps)))
			}
		})
	}
}

func (b *Backend[T]) sgd(k device.SGD) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		g, p, v := a[0].f, a[1].f, a[2].f
		lr, decay, scale := T(s.need(0, "lr")), T(s.need(1, "decay")), T(s.need(2, "gradScale"))
		momentum := T(k.Momentum)
		b.split(k.N, 4, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				v[i] = momentum*v[i] + scale*g[i] + decay*p[i]
				p[i] -= lr * v[i]
			}
		})
	}
}

func (b *Backend[T]) lion(k device.Lion) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		g, p, m := a[0].f, a[1].f, a[2].f
		lr, decay, scale := T(s.need(0, "lr")), T(s.need(1, "decay")), T(s.need(2, "gradScale"))
		b1, b2 := T(k.Beta1), T(k.Beta2)
		b.split(k.N, 4, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				grad := scale * g[i]
				p[i] -= lr * (sign(b1*m[i]+(1-b1)*grad) + decay*p[i])
				m[i] = b2*m[i] + (1-b2)*grad
			}
		})
	}
}

func (b *Backend[T]) average(k device.Average) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		x, avg, weight := a[0].f, a[1].f, T(s.need(0, "weight"))
		b.split(k.N, 2, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				avg[i] += weight * (x[i] - avg[i])
			}
		})
	}
}

// sign returns −1, 0 or 1; NaN stays NaN.
func sign[T Float](x T) T {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}
