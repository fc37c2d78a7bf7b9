package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// Gather picks rows of a table: table [V, W], ids i32 [...] → [..., W]. It is an embedding when the
// table is a parameter. Ids outside [0, V) are the caller's fault and not checked here.
func Gather(table, ids *Node) *Node {
	g := table.g
	if g.unusable(table, ids) {
		return &Node{g: g}
	}
	if table.Dims() != 2 || ids.dtype != device.I32 {
		return g.fail("gather", "table is %v, ids %s %v; want table [V, W] and ids i32", table, ids.dtype, ids)
	}
	v, w, n := table.Dim(0), table.Dim(1), ids.Elements()
	return g.apply(op{name: "gather", shape: append(slices.Clone(ids.shape), w), part: noPart,
		wrt: []bool{true, false}, kernel: device.Gather{Rows: v, Cols: w, N: n},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "gather.back", shape: in[0].shape, part: noPart,
				kernel: device.GatherBack{Rows: v, Cols: w, N: n}}, in[1], dy), nil}
		}}, table, ids)
}

// SelectRows picks positions of x [B, T, W] by their flat place b·T + t: ids i32 [...] → [..., W].
// It takes the end-of-text token of each caption, or the patches that patch dropout keeps.
func SelectRows(x, ids *Node) *Node {
	if x.g.unusable(x, ids) {
		return &Node{g: x.g}
	}
	return Gather(Reshape(x, x.rows(), x.Dim(-1)), ids)
}

// ConcatTokens joins a and c along the middle axis: a [B, TA, W], or [TA, W] to repeat it for every
// b, then c [B, TC, W] → [B, TA+TC, W].
func ConcatTokens(a, c *Node) *Node {
	g := a.g
	if g.unusable(a, c) {
		return &Node{g: g}
	}
	broadcast := a.Dims() == 2
	if c.Dims() != 3 || a.Dims() > 3 || a.Dims() < 2 || a.Dim(-1) != c.Dim(2) || !broadcast && a.Dim(0) != c.Dim(0) {
		return g.fail("concat_tokens", "a is %v, c %v; want a [B, TA, W] or [TA, W] and c [B, TC, W]", a, c)
	}
	b, ta, tc, w := c.Dim(0), a.Dim(-2), c.Dim(1), c.Dim(2)
	return g.apply(op{name: "concat_tokens", shape: []int{b, ta + tc, w}, part: noPart, wrt: []bool{true, true},
		kernel: device.Concat{B: b, TA: ta, TC: tc, W: w, BroadcastA: broadcast},
		diff: func(in []*Node, _, dy *Node) []*Node {
			da := SliceTokens(dy, 0, ta)
			if broadcast {
				da = sumRows(da, b, ta*w, in[0].shape)
			}
			return []*Node{da, SliceTokens(dy, ta, tc)}
		}}, a, c)
}

// SliceTokens takes positions [from, from+n) of the middle axis: x [B, T, W] → [B, n, W].
func SliceTokens(x *Node, from, n int) *Node {
	g := x.g
	if g.unusable(x) {
		return x
	}
	if x.Dims() != 3 || from < 0 || n < 1 || from+n > x.Dim(1) {
		return g.fail("slice_tokens", "x is %v, which has no positions [%d, %d) of its middle axis", x, from, from+n)
	}
	k := device.Slice{B: x.Dim(0), T: x.Dim(1), W: x.Dim(2), From: from, N: n}
	return g.apply(op{name: "slice_tokens", shape: []int{k.B, n, k.W}, part: noPart, wrt: []bool{true},
		kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "slice_tokens.back", shape: in[0].shape, part: noPart,
				kernel: device.SliceBack(k)}, dy)}
		}}, x)
}

// MeanTokens averages over the middle axis: x [B, T, W] → [B, W]. With lengths i32 [B] (nil for none), row b is the
// mean of its first lengths[b] positions, each in [1, T].
func MeanTokens(x, lengths *Node) *Node {
	g := x.g
	in := []*Node{x}
	if lengths != nil {
		in = append(in, lengths)
	}
	if g.unusable(in...) {
		return &Node{g: g}
	}
	if x.Dims() != 3 || lengths != nil && (lengths.dtype != device.I32 || lengths.Elements() != x.Dim(0)) {
		return g.fail("mean_tokens", "x is %v, lengths %v; want x [B, T, W] and lengths i32 [B] or nil", x, in[1:])
	}
	k := device.MeanTokens{B: x.Dim(0), T: x.Dim(1), W: x.Dim(2), Lengths: lengths != nil}
	return g.apply(op{name: "mean_tokens", shape: []int{k.B, k.W}, part: noPart,
		wrt: []bool{true, false}[:len(in)], kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			args := append([]*Node{dy}, in[1:]...)
			return []*Node{g.apply(op{name: "mean_tokens.back", shape: in[0].shape, part: noPart,
				kernel: device.MeanTokensBack(k)}, args...), nil}[:len(in)]
		}}, in...)
}
