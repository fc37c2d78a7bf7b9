package graph

import "tandem/core/device"

// Attention is multi-head self-attention softmax(q·kᵀ/√d + mask)·v on packed projections
// (Vaswani et al. 2017): qkv [B, T, 3·W], the thirds being q, k and v; head h owns columns
// [h·W/heads, (h+1)·W/heads) of each. causal masks keys after the query. → [B, T, W].
func Attention(qkv *Node, heads int, causal bool) *Node {
	g := qkv.g
	if g.bad(qkv) {
		return qkv
	}
	if qkv.Dims() != 3 || heads < 1 || qkv.Dim(2)%(3*heads) != 0 {
		return g.fail("attention", "qkv is %v, want [B, T, 3·W] with W a multiple of %d heads", qkv, heads)
	}
	b, t, w := qkv.Dim(0), qkv.Dim(1), qkv.Dim(2)/3
	k := device.Attention{B: b, Tq: t, Tk: t, Heads: heads, HeadDim: w / heads, Causal: causal, Packed: true}
	return g.apply(op{name: "attention", shape: []int{b, t, w}, part: noPart, inPlace: -1, wrt: []bool{true}, kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart, inPlace: -1,
				kernel: device.AttentionBack(k)}, in[0], dy)}
		}}, qkv)
}

// AttentionAt is Attention with one query a sequence: qkv [B, T, 3·W], rows i32 [B] → [B, W], where
// query b stands at the flat place rows[b] = b·T + t of sequence b. It is the row that SelectRows would
// pick from Attention's value, without the other queries' work.
func AttentionAt(qkv, rows *Node, heads int, causal bool) *Node {
	g := qkv.g
	if g.bad(qkv, rows) {
		return &Node{g: g}
	}
	if qkv.Dims() != 3 || heads < 1 || qkv.Dim(2)%(3*heads) != 0 || rows.dtype != device.I32 || rows.Elements() != qkv.Dim(0) {
		return g.fail("attention", "qkv is %v, rows %s %v; want [B, T, 3·W] with W a multiple of %d heads and i32 [B]", qkv, rows.dtype, rows, heads)
	}
	b, t, w := qkv.Dim(0), qkv.Dim(1), qkv.Dim(2)/3
	k := device.AttentionAt{B: b, T: t, Heads: heads, HeadDim: w / heads, Causal: causal}
	return g.apply(op{name: "attention", shape: []int{b, w}, part: noPart, inPlace: -1, wrt: []bool{true, false}, kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart, inPlace: -1,
				kernel: device.AttentionAtBack(k)}, in[0], in[1], dy), nil}
		}}, qkv, rows)
}

// CrossAttention is multi-head attention with separate projections: q [B, Tq, W], k and v [B, Tk, W]
// → [B, Tq, W]. causal needs Tq = Tk.
func CrossAttention(q, k, v *Node, heads int, causal bool) *Node {
	g := q.g
	if g.bad(q, k, v) {
		return &Node{g: g}
	}
	fits := q.Dims() == 3 && k.Dims() == 3 && v.Dims() == 3 && heads > 0 && q.Dim(2)%heads == 0 &&
		q.Dim(0) == k.Dim(0) && q.Dim(2) == k.Dim(2) && k.Dim(0) == v.Dim(0) && k.Dim(1) == v.Dim(1) && k.Dim(2) == v.Dim(2)
	if !fits {
		return g.fail("attention", "q is %v, k %v, v %v; want q [B, Tq, W], k and v [B, Tk, W], W a multiple of %d heads", q, k, v, heads)
	}
	kernel := device.Attention{B: q.Dim(0), Tq: q.Dim(1), Tk: k.Dim(1), Heads: heads, HeadDim: q.Dim(2) / heads, Causal: causal}
	return g.apply(op{name: "attention", shape: q.shape, part: noPart, inPlace: -1, wrt: []bool{true, true, true}, kernel: kernel,
		diff: func(in []*Node, _, dy *Node) []*Node {
			dq := g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart, inPlace: -1,
				kernel: device.AttentionBack(kernel)}, in[0], in[1], in[2], dy)
			return []*Node{dq, part(dq, 1, in[1].shape...), part(dq, 2, in[2].shape...)}
		}}, q, k, v)
}
