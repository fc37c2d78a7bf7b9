package reference

import (
	"fmt"

	"tandem/core/engine/device"
)

func (b *Backend[T]) gather(k device.Gather) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		table, ids, out := a[0].f, a[1].i, a[2].f
		checkIDs(ids, k.Rows)
		b.each(k.N, k.Cols, func(i int) {
			id := int(ids[i])
			copy(out[i*k.Cols:(i+1)*k.Cols], table[id*k.Cols:(id+1)*k.Cols])
		})
	}
}

func checkIDs(ids []int32, rows int) {
	for i, id := range ids {
		if id < 0 || int(id) >= rows {
			panic(fmt.Sprintf("device/host: id %d at %d is outside a table of %d rows", id, i, rows))
		}
	}
}

func (b *Backend[T]) gatherBack(k device.GatherBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		ids, dy, dtable := a[0].i, a[1].f, a[2].f
		checkIDs(ids, k.Rows)
		clear(dtable)
		b.columns(k.N, k.Cols, func(lo, hi int) {
			for i, id := range ids {
				d := dtable[int(id)*k.Cols+lo : int(id)*k.Cols+hi]
				for j, v := range dy[i*k.Cols+lo : i*k.Cols+hi] {
					d[j] += v
				}
			}
		})
	}
}

func (b *Backend[T]) concat(k device.Concat) func(args[T], scalars) {
	na, nc := k.TA*k.W, k.TC*k.W
	return func(a args[T], _ scalars) {
		b.each(k.B, na+nc, func(i int) {
			first := a[0].f
			if !k.BroadcastA {
				first = first[i*na:]
			}
			out := a[2].f[i*(na+nc) : (i+1)*(na+nc)]
			copy(out[:na], first)
			copy(out[na:], a[1].f[i*nc:])
		})
	}
}

func (b *Backend[T]) slice(k device.Slice) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.B, k.N*k.W, func(i int) {
			copy(a[1].f[i*k.N*k.W:(i+1)*k.N*k.W], a[0].f[(i*k.T+k.From)*k.W:])
		})
	}
}

func (b *Backend[T]) sliceBack(k device.SliceBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.B, k.T*k.W, func(i int) {
			dx := a[1].f[i*k.T*k.W : (i+1)*k.T*k.W]
			clear(dx)
			copy(dx[k.From*k.W:], a[0].f[i*k.N*k.W:(i+1)*k.N*k.W])
		})
	}
}

// lengthAt returns how many positions of row i count. A length outside [1, T] is moved into it, so that
// an empty text is its first position and not a division by zero.
func lengthAt[T Float](lengths *buffer[T], i, t int) int {
	if lengths == nil {
		return t
	}
	return min(max(int(lengths.i[i]), 1), t)
}

func (b *Backend[T]) meanTokens(k device.MeanTokens) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.B, k.T*k.W, func(i int) {
			n := lengthAt(a[1], i, k.T)
			out := a[2].f[i*k.W : (i+1)*k.W]
			clear(out)
			for t := 0; t < n; t++ {
				for j, v := range a[0].f[(i*k.T+t)*k.W : (i*k.T+t+1)*k.W] {
					out[j] += v
				}
			}
			for j := range out {
				out[j] /= T(n)
			}
		})
	}
}

func (b *Backend[T]) meanTokensBack(k device.MeanTokensBack) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		b.each(k.B, k.T*k.W, func(i int) {
			n := lengthAt(a[1], i, k.T)
			dx := a[2].f[i*k.T*k.W : (i+1)*k.T*k.W]
			clear(dx[n*k.W:])
			for t := 0; t < n; t++ {
				for j, v := range a[0].f[i*k.W : (i+1)*k.W] {
					dx[t*k.W+j] = v / T(n)
				}
			}
		})
	}
}

func (b *Backend[T]) transpose(k device.Transpose) func(args[T], scalars) {
	return func(a args[T], _ scalars) {
		x, out := a[0].f, a[1].f
		b.each(k.B*k.N, k.M, func(item int) {
			i, n := item/k.N, item%k.N
			row := out[item*k.M : (item+1)*k.M]
			for m := range row {
				row[m] = x[(i*k.M+m)*k.N+n]
			}
		})
	}
}

func (b *Backend[T]) patchify(k device.Patchify) func(args[T], scalars) {
	gh, gw := k.H/k.P, k.W/k.P
	return func(a args[T], _ scalars) {
		x, out := a[0].f, a[1].f
		b.each(k.B*gh*gw, k.C*k.P*k.P, func(item int) {
			i, gy, gx := item/(gh*gw), item/gw%gh, item%gw
			row := out[item*k.C*k.P*k.P : (item+1)*k.C*k.P*k.P]
			for c := 0; c < k.C; c++ {
				for py := 0; py < k.P; py++ {
					from := ((i*k.H+gy*k.P+py)*k.W+gx*k.P)*k.C + c
					for px := 0; px < k.P; px++ {
						row[(c*k.P+py)*k.P+px] = x[from+px*k.C]
					}
				}
			}
		})
	}
}
