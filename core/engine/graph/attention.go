package graph

import "tandem/core/engine/device"

// Attention computes multi-head self-attention, softmax(q·kᵀ/√d + mask)·v, on packed projections (Vaswani et al.
// 2017): qkv [B, T, 3·W], the thirds being q, k and v; head h owns columns [h·W/heads, (h+1)·W/heads) of each. causal
// masks keys after the query. → [B, T, W].
func Attention(qkv *Node, heads int, causal bool) *Node {
	g := qkv.g
	if g.unusable(qkv) {
		return qkv
	}
	if qkv.Dims() != 3 || heads < 1 || qkv.Dim(2)%(3*heads) != 0 {
		return g.fail("attention", "qkv is %v, want [B, T, 3·W] with W a multiple of %d heads", qkv, heads)
	}
	b, t, w := qkv.Dim(0), qkv.Dim(1), qkv.Dim(2)/3
	k := device.Attention{B: b, Tq: t, Tk: t, Heads: heads, HeadDim: w / heads, Causal: causal, Packed: true}
	return g.apply(op{name: "attention", shape: []int{b, t, w}, part: noPart, wrt: []bool{true}, kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart,
				kernel: device.AttentionBack(k)}, in[0], dy)}
		}}, qkv)
}

// Spans describes sequences of different lengths that follow each other without padding: sequence b owns rows
// [starts[b], starts[b+1]), starts i32 [B + 1], of at most Longest rows. Rows after the last belong to none.
type Spans struct {
	Starts  *Node
	Longest int
}

// Batch returns the number of sequences.
func (s *Spans) Batch() int { return s.Starts.Elements() - 1 }

// SpanAttention computes Attention on sequences of different lengths: qkv [N, 3·W] → [N, W], 0 for rows that belong to
// none.
func SpanAttention(qkv *Node, s *Spans, heads int, causal bool) *Node {
	g := qkv.g
	if g.unusable(qkv, s.Starts) {
		return &Node{g: g}
	}
	if qkv.Dims() != 2 || heads < 1 || qkv.Dim(1)%(3*heads) != 0 || s.Starts.dtype != device.I32 {
		return g.fail("attention", "qkv is %v, starts %s %v; want [N, 3·W] with W a multiple of %d heads and i32 [B + 1]", qkv, s.Starts.dtype, s.Starts, heads)
	}
	n, w := qkv.Dim(0), qkv.Dim(1)/3
	k := device.Attention{B: s.Batch(), Tq: s.Longest, Tk: s.Longest, Heads: heads, HeadDim: w / heads, Causal: causal, Packed: true, Rows: n}
	return g.apply(op{name: "attention", shape: []int{n, w}, part: noPart, wrt: []bool{true, false}, kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart,
				kernel: device.AttentionBack(k)}, in[0], in[1], dy), nil}
		}}, qkv, s.Starts)
}

// AttentionAt computes Attention with one query per sequence: qkv [B, T, 3·W], rows i32 [B] → [B, W], where query b
// stands at the flat place rows[b] = b·T + t of sequence b. The result is what SelectRows would pick from Attention's
// value, without the work of the other queries. With spans (nil for none) it picks from SpanAttention's: qkv [N, 3·W].
func AttentionAt(qkv, rows *Node, spans *Spans, heads int, causal bool) *Node {
	g := qkv.g
	if g.unusable(qkv, rows) || spans != nil && g.unusable(spans.Starts) {
		return &Node{g: g}
	}
	dims, in := 3, []*Node{qkv, rows}
	if spans != nil {
		dims, in = 2, []*Node{qkv, spans.Starts, rows}
	}
	b := rows.Elements()
	if qkv.Dims() != dims || heads < 1 || qkv.Dim(-1)%(3*heads) != 0 || rows.dtype != device.I32 ||
		spans == nil && b != qkv.Dim(0) || spans != nil && b != spans.Batch() {
		return g.fail("attention", "qkv is %v, rows %s %v; want [B, T, 3·W] or, with spans, [N, 3·W], W a multiple of %d heads, and i32 [B]", qkv, rows.dtype, rows, heads)
	}
	w := qkv.Dim(-1) / 3
	k := device.AttentionAt{B: b, T: qkv.Dim(1), Heads: heads, HeadDim: w / heads, Causal: causal}
	if spans != nil {
		k.T, k.Rows = spans.Longest, qkv.Dim(0)
	}
	return g.apply(op{name: "attention", shape: []int{b, w}, part: noPart, wrt: []bool{true, false, false}[:len(in)], kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart,
				kernel: device.AttentionAtBack(k)}, append(append([]*Node{}, in...), dy)...), nil, nil}[:len(in)]
		}}, in...)
}

// CrossAttention computes multi-head attention with separate projections: q [B, Tq, W], k and v [B, Tk, W] → [B, Tq,
// W]. causal needs Tq = Tk.
func CrossAttention(q, k, v *Node, heads int, causal bool) *Node {
	g := q.g
	if g.unusable(q, k, v) {
		return &Node{g: g}
	}
	fits := q.Dims() == 3 && k.Dims() == 3 && v.Dims() == 3 && heads > 0 && q.Dim(2)%heads == 0 &&
		q.Dim(0) == k.Dim(0) && q.Dim(2) == k.Dim(2) && k.Dim(0) == v.Dim(0) && k.Dim(1) == v.Dim(1) && k.Dim(2) == v.Dim(2)
	if !fits {
		return g.fail("attention", "q is %v, k %v, v %v; want q [B, Tq, W], k and v [B, Tk, W], W a multiple of %d heads", q, k, v, heads)
	}
	kernel := device.Attention{B: q.Dim(0), Tq: q.Dim(1), Tk: k.Dim(1), Heads: heads, HeadDim: q.Dim(2) / heads, Causal: causal}
	return g.apply(op{name: "attention", shape: q.shape, part: noPart, wrt: []bool{true, true, true}, kernel: kernel,
		diff: func(in []*Node, _, dy *Node) []*Node {
			dq := g.apply(op{name: "attention.back", shape: in[0].shape, part: noPart,
				kernel: device.AttentionBack(kernel)}, in[0], in[1], in[2], dy)
			return []*Node{dq, part(dq, 1, in[1].shape...), part(dq, 2, in[2].shape...)}
		}}, q, k, v)
}
