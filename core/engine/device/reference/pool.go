package reference

import (
	"tandem/core/engine/device"
)

// window calls f for every position of the window of output (oy, ox) that lies inside the map, with
// the offset of its channel 0.
func window(p device.Pool2D, oy, ox int, f func(at int)) {
	for ky := 0; ky < p.Size; ky++ {
		for kx := 0; kx < p.Size; kx++ {
			y, x := oy*p.Stride+ky-p.Pad, ox*p.Stride+kx-p.Pad
			if y >= 0 && y < p.H && x >= 0 && x < p.W {
				f((y*p.W + x) * p.C)
			}
		}
	}
}

// pictures runs f for each picture of the batch with every output position, out being the offset of
// its channel 0. Windows of one picture may overlap, those of two do not.
func (b *Backend[T]) pictures(p device.Pool2D, f func(i, oy, ox, out int)) {
	oh, ow := p.OutSize()
	b.each(p.B, oh*ow*p.C*p.Size*p.Size, func(i int) {
		for oy := 0; oy < oh; oy++ {
			for ox := 0; ox < ow; ox++ {
				f(i, oy, ox, ((i*oh+oy)*ow+ox)*p.C)
			}
		}
	})
}

func (b *Backend[T]) avgPool(p device.Pool2D) func(args[T], scalars) {
	area := T(p.Size * p.Size)
	return func(a args[T], _ scalars) {
		b.pictures(p, func(i, oy, ox, out int) {
			x, y := a[0].f[i*p.H*p.W*p.C:], a[1].f[out:out+p.C]
			clear(y)
			window(p, oy, ox, func(at int) {
				for c, v := range x[at : at+p.C] {
					y[c] += v
				}
			})
			for c := range y {
				y[c] /= area
			}
		})
	}
}

func (b *Backend[T]) avgPoolBack(p device.Pool2D) func(args[T], scalars) {
	area := T(p.Size * p.Size)
	return func(a args[T], _ scalars) {
		clear(a[1].f)
		b.pictures(p, func(i, oy, ox, out int) {
			dx, dy := a[1].f[i*p.H*p.W*p.C:], a[0].f[out:out+p.C]
			window(p, oy, ox, func(at int) {
				for c, v := range dy {
					dx[at+c] += v / area
				}
			})
		})
	}
}

// larger says that v replaces the best so far: a NaN does, and then stays.
func larger[T Float](v, best T) bool { return v > best || (v != v && best == best) }

func (b *Backend[T]) maxPool(p device.Pool2D) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.pictures(p, func(i, oy, ox, out int) {
			x, y := a[0].f[i*p.H*p.W*p.C:], a[1].f[out:out+p.C]
			first := true
			window(p, oy, ox, func(at int) {
				for c, v := range x[at : at+p.C] {
					if first || larger(v, y[c]) {
						y[c] = v
					}
				}
				first = false
			})
		})
	}
}

func (b *Backend[T]) maxPoolBack(p device.Pool2D) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		clear(a[2].f)
		b.pictures(p, func(i, oy, ox, out int) {
			x, dx := a[0].f[i*p.H*p.W*p.C:], a[2].f[i*p.H*p.W*p.C:]
			for c, v := range a[1].f[out : out+p.C] {
				best := -1
				window(p, oy, ox, func(at int) {
					if best < 0 || larger(x[at+c], x[best]) {
						best = at + c
					}
				})
				dx[best] += v
			}
		})
	}
}

func (b *Backend[T]) batchStats(k device.BatchStats) func(args[T], scalars) {
	mean, variance := make([]float64, k.C), make([]float64, k.C)
	n := float64(k.Rows)
	return func(a args[T], _ scalars) {
		x, stats := a[0].f, a[1].f
		b.columns(2*k.Rows, k.C, func(lo, hi int) {
			clear(mean[lo:hi])
			clear(variance[lo:hi])
			for r := 0; r < k.Rows; r++ {
				for j, v := range x[r*k.C+lo : r*k.C+hi] {
					mean[lo+j] += float64(v)
				}
			}
			for j := lo; j < hi; j++ {
				mean[j] /= n
			}
			for r := 0; r < k.Rows; r++ {
				for j, v := range x[r*k.C+lo : r*k.C+hi] {
					d := float64(v) - mean[lo+j]
					variance[lo+j] += d * d
				}
			}
			for j := lo; j < hi; j++ {
				stats[j], stats[k.C+j] = T(mean[j]), T(variance[j]/n)
			}
		})
	}
}
