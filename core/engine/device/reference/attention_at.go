package reference

import (
	"fmt"
	"math"

	"tandem/core/engine/device"
)

// query finds what one head of one query sees: the query's qkv row, from its head on, the first key's,
// the number of keys and of tokens in its sequence.
func query[T Float](k device.AttentionAt, qkv []T, starts, rows []int32, item int) (q, first []T, keys, tokens int) {
	w := k.Heads * k.HeadDim
	b, h := item/k.Heads, item%k.Heads*k.HeadDim
	from, tokens := b*k.T, k.T
	if k.Rows > 0 {
		from, tokens = int(starts[b]), int(starts[b+1]-starts[b])
	}
	t := int(rows[b]) - from
	if t < 0 || t >= tokens {
		panic(fmt.Sprintf("device/host: row %d is outside sequence %d of %d from row %d on", rows[b], b, tokens, from))
	}
	keys = tokens
	if k.Causal {
		keys = t + 1
	}
	return qkv[(from+t)*3*w+h:], qkv[from*3*w+h:], keys, tokens
}

// indexArgs returns the arguments of integers: starts (nil where all sequences have one length) and rows. next is
// the place of the argument after them.
func indexArgs[T Float](k device.AttentionAt, a args[T]) (starts, rows []int32, next int) {
	if k.Rows == 0 {
		return nil, a[1].i, 2
	}
	checkStarts(a[1].i, k.T, k.Rows)
	return a[1].i, a[2].i, 3
}

// weigh fills p [keys] with softmax(scale·q·kᵀ).
func weigh[T Float](k device.AttentionAt, p, q, first []T) {
	w, scale := k.Heads*k.HeadDim, 1/math.Sqrt(float64(k.HeadDim))
	for j := range p {
		p[j] = T(scale * dot(q[:k.HeadDim], first[j*3*w+w:]))
	}
	softmax(p)
}

func dot[T Float](a, b []T) (s float64) {
	for i, v := range a {
		s += float64(v) * float64(b[i])
	}
	return s
}

func (b *Backend[T]) attentionAt(k device.AttentionAt) func(args[T], scalars) {
	w := k.Heads * k.HeadDim
	scratch := make([][]T, b.threads)
	return func(a args[T], _ scalars) {
		starts, rows, next := indexArgs(k, a)
		b.split(k.B*k.Heads, 2*k.T*k.HeadDim, func(part, lo, hi int) {
			if scratch[part] == nil {
				scratch[part] = make([]T, k.T)
			}
			for item := lo; item < hi; item++ {
				q, first, keys, _ := query(k, a[0].f, starts, rows, item)
				p := scratch[part][:keys]
				weigh(k, p, q, first)
				out := a[next].f[item*k.HeadDim:][:k.HeadDim]
				clear(out)
				for j, v := range p {
					for i, x := range first[j*3*w+2*w:][:k.HeadDim] {
						out[i] += v * x
					}
				}
			}
		})
	}
}

func (b *Backend[T]) attentionAtBack(kernel device.AttentionAtBack) func(args[T], scalars) {
	k := device.AttentionAt(kernel)
	w, scale := k.Heads*k.HeadDim, 1/math.Sqrt(float64(k.HeadDim))
	scratch := make([][]T, b.threads)
	return func(a args[T], _ scalars) {
		starts, rows, next := indexArgs(k, a)
		if k.Rows > 0 {
			clear(a[next+1].f[int(starts[k.B])*3*w:])
		}
		b.split(k.B*k.Heads, 4*k.T*k.HeadDim, func(part, lo, hi int) {
			if scratch[part] == nil {
				scratch[part] = make([]T, 2*k.T)
			}
			for item := lo; item < hi; item++ {
				q, first, keys, tokens := query(k, a[0].f, starts, rows, item)
				dq, grads, _, _ := query(k, a[next+1].f, starts, rows, item)
				p, ds := scratch[part][:keys], scratch[part][k.T:][:keys]
				weigh(k, p, q, first)
				do := a[next].f[item*k.HeadDim:][:k.HeadDim]
				// Through the softmax: ds = p·(dp − Σ p·dp), dp = dout·v, and the scale.
				var sum float64
				for j := range ds {
					dp := dot(do, first[j*3*w+2*w:])
					ds[j] = T(dp)
					sum += float64(p[j]) * dp
				}
				for t := range tokens {
					for part := range 3 {
						clear(grads[t*3*w+part*w:][:k.HeadDim])
					}
				}
				for j := range ds {
					s := T(scale * float64(p[j]) * (float64(ds[j]) - sum))
					kk, dk, dv := first[j*3*w+w:], grads[j*3*w+w:], grads[j*3*w+2*w:]
					for i := range k.HeadDim {
						dq[i] += s * kk[i]
						dk[i] = s * q[i]
						dv[i] = p[j] * do[i]
					}
				}
			}
		})
	}
}
