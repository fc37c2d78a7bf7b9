package reference

import (
	"fmt"
	"math"

	"tandem/core/engine/device"
)

// headViews finds q, k and v (or their gradients) in an Exec's arguments, from argument first on:
// the parts that one head of one row of the batch, which begins at row from of packed ones, owns, and the
// distance between positions.
func headViews[T Float](k device.Attention, a args[T], first int) func(item, from int) (q, kk, v []T, stride int) {
	w := k.Heads * k.HeadDim
	if k.Packed {
		qkv := a[first].f
		return func(item, from int) ([]T, []T, []T, int) {
			at := from*3*w + item%k.Heads*k.HeadDim
			return qkv[at:], qkv[at+w:], qkv[at+2*w:], 3 * w
		}
	}
	return func(item, _ int) ([]T, []T, []T, int) {
		row, h := item/k.Heads, item%k.Heads*k.HeadDim
		return a[first].f[row*k.Tq*w+h:], a[first+1].f[row*k.Tk*w+h:], a[first+2].f[row*k.Tk*w+h:], w
	}
}

// attentionInputs returns the number of arguments before dout or out.
func attentionInputs(k device.Attention) int {
	switch {
	case !k.Packed:
		return 3
	case k.Rows > 0:
		return 2
	}
	return 1
}

// spans gives, for each item, the kernel with the lengths of its sequence and the first row of that. What is
// beyond the last sequence in rows of width floats it clears.
func spans[T Float](k device.Attention, a args[T], rows []T, width int) func(item int) (device.Attention, int) {
	if k.Rows == 0 {
		return func(item int) (device.Attention, int) { return k, item / k.Heads * k.Tq }
	}
	starts := a[1].i
	checkStarts(starts, k.Tq, k.Rows)
	clear(rows[int(starts[k.B])*width:])
	return func(item int) (device.Attention, int) {
		b, k := item/k.Heads, k
		k.Tq = int(starts[b+1] - starts[b])
		k.Tk = k.Tq
		return k, int(starts[b])
	}
}

func checkStarts(starts []int32, longest, rows int) {
	for b := range len(starts) - 1 {
		if n := starts[b+1] - starts[b]; starts[b] < 0 || n < 1 || int(n) > longest || int(starts[b+1]) > rows {
			panic(fmt.Sprintf("device/host: sequence %d is rows [%d, %d) of %d, of at most %d", b, starts[b], starts[b+1], rows, longest))
		}
	}
}

// probabilities fills p [tq, tk] with softmax(scale·q kᵀ + mask).
func probabilities[T Float](k device.Attention, p, q, kk []T, stride int) {
	scale := T(1 / math.Sqrt(float64(k.HeadDim)))
	gemm(false, true, k.Tq, k.Tk, k.HeadDim, scale, q, stride, kk, stride, 0, p, k.Tk)
	for i := 0; i < k.Tq; i++ {
		row := p[i*k.Tk : (i+1)*k.Tk]
		if k.Causal {
			clear(row[i+1:])
			row = row[:i+1]
		}
		softmax(row)
	}
}

func softmax[T Float](x []T) {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, float64(v))
	}
	var s float64
	for j, v := range x {
		e := math.Exp(float64(v) - top)
		x[j] = T(e)
		s += e
	}
	for j := range x {
		x[j] = T(float64(x[j]) / s)
	}
}

func (b *Backend[T]) attention(k device.Attention) func(args[T], scalars) {
	w, items := k.Heads*k.HeadDim, k.B*k.Heads
	scratch := make([][]T, b.threads)
	return func(a args[T], _ scalars) {
		views := headViews(k, a, 0)
		out := a[len(a)-1].f
		span := spans(k, a, out, w)
		b.split(items, 2*k.Tq*k.Tk*k.HeadDim, func(part, lo, hi int) {
			if scratch[part] == nil {
				scratch[part] = make([]T, k.Tq*k.Tk)
			}
			p := scratch[part]
			for item := lo; item < hi; item++ {
				k, from := span(item)
				q, kk, v, stride := views(item, from)
				probabilities(k, p, q, kk, stride)
				if k.BF16 {
					roundBF16(p[:k.Tq*k.Tk], p[:k.Tq*k.Tk])
				}
				o := out[from*w+item%k.Heads*k.HeadDim:]
				gemm(false, false, k.Tq, k.HeadDim, k.Tk, 1, p, k.Tk, v, stride, 0, o, w)
			}
		})
	}
}

func (b *Backend[T]) attentionBack(kernel device.AttentionBack) func(args[T], scalars) {
	k := device.Attention(kernel)
	w, items := k.Heads*k.HeadDim, k.B*k.Heads
	scale := T(1 / math.Sqrt(float64(k.HeadDim)))
	scratch := make([][]T, b.threads)
	inputs := attentionInputs(k)
	return func(a args[T], _ scalars) {
		views, grads := headViews(k, a, 0), headViews(k, a, inputs+1)
		dout := a[inputs].f
		span := spans(k, a, a[inputs+1].f, 3*w)
		b.split(items, 5*k.Tq*k.Tk*k.HeadDim, func(part, lo, hi int) {
			if scratch[part] == nil {
				scratch[part] = make([]T, 2*k.Tq*k.Tk)
			}
			p, dp := scratch[part][:k.Tq*k.Tk], scratch[part][k.Tq*k.Tk:]
			for item := lo; item < hi; item++ {
				k, from := span(item)
				q, kk, v, stride := views(item, from)
				dq, dk, dv, dstride := grads(item, from)
				do := dout[from*w+item%k.Heads*k.HeadDim:]
				probabilities(k, p, q, kk, stride)
				weights := p
				if k.BF16 {
					weights = dp
					roundBF16(dp[:k.Tq*k.Tk], p[:k.Tq*k.Tk])
				}
				gemm(true, false, k.Tk, k.HeadDim, k.Tq, 1, weights, k.Tk, do, w, 0, dv, dstride)
				gemm(false, true, k.Tq, k.Tk, k.HeadDim, 1, do, w, v, stride, 0, dp, k.Tk)
				// Through the softmax: ds = p·(dp − Σ p·dp).
				for i := 0; i < k.Tq; i++ {
					pr, dr := p[i*k.Tk:(i+1)*k.Tk], dp[i*k.Tk:(i+1)*k.Tk]
					if k.Causal {
						clear(dr[i+1:])
						pr, dr = pr[:i+1], dr[:i+1]
					}
					var dot float64
					for j, v := range pr {
						dot += float64(v) * float64(dr[j])
					}
					for j, v := range pr {
						dr[j] = T(float64(v) * (float64(dr[j]) - dot))
					}
				}
				if k.BF16 {
					roundBF16(dp[:k.Tq*k.Tk], dp[:k.Tq*k.Tk])
				}
				gemm(false, false, k.Tq, k.HeadDim, k.Tk, scale, dp, k.Tk, kk, stride, 0, dq, dstride)
				gemm(true, false, k.Tk, k.HeadDim, k.Tq, scale, dp, k.Tk, q, stride, 0, dk, dstride)
			}
		})
	}
}
