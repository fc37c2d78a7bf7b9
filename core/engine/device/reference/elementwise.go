package reference

import (
	"math"

	"tandem/core/engine/device"
)

// activation returns a function and its derivative.
func activation[T Float](a device.Activation) (f, derivative func(T) T) {
	// float32 has shorter ways to those with transcendental functions.
	fast := map[device.Activation][2]func(float32) float32{
		device.GELU:      {gelu32, geluBack32},
		device.QuickGELU: {quick32, quickBack32},
		device.TanhGELU:  {tanhGELU32, tanhGELUBack32},
	}
	if f, ok := any(fast[a][0]).(func(T) T); ok && f != nil {
		return f, any(fast[a][1]).(func(T) T)
	}
	switch a {
	case device.ReLU:
		// Written so that a NaN comes out as a NaN.
		return func(x T) T {
				if x < 0 {
					return 0
				}
				return x
			}, func(x T) T {
				if x > 0 {
					return 1
				}
				return 0
			}
	case device.GELU:
		return func(x T) T { return T(float64(x) * normalCDF(float64(x))) },
			func(x T) T {
				v := float64(x)
				return T(normalCDF(v) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
			}
	case device.QuickGELU:
		return func(x T) T { return T(float64(x) * sigmoid(1.702*float64(x))) },
			func(x T) T {
				v := 1.702 * float64(x)
				s := sigmoid(v)
				return T(s + v*s*(1-s))
			}
	case device.TanhGELU: // x·σ(u) with u = 2√(2/π)·(x + 0.044715x³)
		const a, b = 2 * math.Sqrt2 / 1.7724538509055159, .044715
		return func(x T) T {
				v := float64(x)
				return T(v * sigmoid(a*(v+b*v*v*v)))
			}, func(x T) T {
				v := float64(x)
				s := sigmoid(a * (v + b*v*v*v))
				if s == 0 || s == 1 { // where x³ overflows, its product with 0 would be none
					return T(s)
				}
				return T(s + v*s*(1-s)*a*(1+3*b*v*v))
			}
	}
	return func(x T) T { return x }, func(T) T { return 1 }
}

// normalCDF returns Φ(x), accurate in the lower tail also.
func normalCDF(x float64) float64 { return 0.5 * math.Erfc(-x*math.Sqrt2/2) }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (b *Backend[T]) act(k device.Act) func(args[T], scalars) {
	f, _ := activation[T](k.Act)
	return func(a args[T], _ scalars) {
		b.split(k.N, 16, func(_, lo, hi int) {
			for i, x := range a[0].f[lo:hi] {
				a[1].f[lo+i] = f(x)
			}
		})
	}
}

func (b *Backend[T]) actBack(k device.ActBack) func(args[T], scalars) {
	_, d := activation[T](k.Act)
	return func(a args[T], _ scalars) {
		b.split(k.N, 16, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				a[2].f[i] = a[1].f[i] * d(a[0].f[i])
			}
		})
	}
}

func (b *Backend[T]) binary(k device.Binary) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		x, y, out := a[0].f, a[1].f, a[2].f
		b.split(k.N, 1, func(_, lo, hi int) {
			for i := lo; i < hi; {
				// One stretch of b without wrapping round.
				from := i % k.Period
				n := min(k.Period-from, hi-i)
				xs, ys, os := x[i:i+n], y[from:from+n], out[i:i+n]
				switch k.Op {
				case device.OpAdd:
					for j, v := range ys {
						os[j] = xs[j] + v
					}
				case device.OpSub:
					for j, v := range ys {
						os[j] = xs[j] - v
					}
				case device.OpMul:
					for j, v := range ys {
						os[j] = xs[j] * v
					}
				}
				i += n
			}
		})
	}
}

func (b *Backend[T]) scale(k device.Scale) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		alpha, beta := T(s.need(0, "alpha")), T(s.at(1, 0))
		b.split(k.N, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				a[1].f[i] = alpha*a[0].f[i] + beta
			}
		})
	}
}

// factor returns f(s) of ScaleBy.
func factor[T Float](s T, exp bool) T {
	if exp {
		return T(math.Exp(float64(s)))
	}
	return s
}

func (b *Backend[T]) scaleBy(k device.ScaleBy) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		f := factor(a[1].f[0], k.Exp)
		b.split(k.N, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				a[2].f[i] = f * a[0].f[i]
			}
		})
	}
}

func (b *Backend[T]) scaleByBack(k device.ScaleByBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		x, dy, dx := a[0].f, a[2].f, a[3].f
		f := factor(a[1].f[0], k.Exp)
		dot := b.sum(k.N, func(i int) float64 { return float64(dy[i]) * float64(x[i]) })
		b.split(k.N, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				dx[i] = f * dy[i]
			}
		})
		// d(exp s)/ds is exp s itself, ds/ds is 1.
		if k.Exp {
			dot *= float64(f)
		}
		a[4].f[0] = T(dot)
	}
}

func (b *Backend[T]) accumulate(k device.Accumulate) func(args[T], scalars) {
	return func(a args[T], s scalars) {
		alpha := T(s.at(0, 1))
		b.split(k.N, 1, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				a[1].f[i] += alpha * a[0].f[i]
			}
		})
	}
}

// sum adds up term(i) over [0, n) in blocks of fixed size, then the blocks in order: the same bits
// for every thread count.
func (b *Backend[T]) sum(n int, term func(i int) float64) float64 {
	const block = 4096
	parts := make([]float64, (n+block-1)/block)
	b.each(len(parts), block, func(p int) {
		var s float64
		for i := p * block; i < min((p+1)*block, n); i++ {
			s += term(i)
		}
		parts[p] = s
	})
	var total float64
	for _, s := range parts {
		total += s
	}
	return total
}

func (b *Backend[T]) sumSquares(k device.SumSquares) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		x := a[0].f
		a[1].f[0] = T(b.sum(k.N, func(i int) float64 { return float64(x[i]) * float64(x[i]) }))
	}
}

func (b *Backend[T]) normalize(k device.Normalize) func(args[T], scalars) {
	// A table per channel: 256 values are all there are.
	var table [3][256]T
	for c := range table {
		for v := range table[c] {
			table[c][v] = T((float64(v)/255 - k.Mean[c]) / k.Std[c])
		}
	}
	return func(a args[T], _ scalars) {
		b.split(k.N, 3, func(_, lo, hi int) {
			for i := 3 * lo; i < 3*hi; i += 3 {
				a[1].f[i] = table[0][a[0].u[i]]
				a[1].f[i+1] = table[1][a[0].u[i+1]]
				a[1].f[i+2] = table[2][a[0].u[i+2]]
			}
		})
	}
}

func (b *Backend[T]) softplus(k device.Softplus) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.N, 16, func(i int) {
			x := float64(a[0].f[i])
			// max(x, 0) + log1p(exp(−|x|)) neither overflows nor loses small values.
			a[1].f[i] = T(math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))))
		})
	}
}

func (b *Backend[T]) softplusBack(k device.SoftplusBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.N, 16, func(i int) { a[2].f[i] = a[1].f[i] * T(sigmoid(float64(a[0].f[i]))) })
	}
}
