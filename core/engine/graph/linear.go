package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// Linear computes act(x·wᵀ + b) over the last axis: x [..., K], w [N, K], b [N] or nil → [..., N].
//
// Bias and activation are part of the matrix product. The slope of the activation is computed beside it, where a
// backward pass needs it.
func Linear(x, w, b *Node, act device.Activation) *Node {
	g := x.g
	in := []*Node{x, w}
	if b != nil {
		in = append(in, b)
	}
	if g.unusable(in...) {
		return &Node{g: g}
	}
	if w.Dims() != 2 || x.Dim(-1) != w.Dim(1) {
		return g.fail("linear", "x is %v, which does not fit w %v; want x [..., K] and w [N, K]", x, w)
	}
	if b != nil && b.Elements() != w.Dim(0) {
		return g.fail("linear", "b is %v, want [%d]", b, w.Dim(0))
	}
	rows, n, k := x.rows(), w.Dim(0), w.Dim(1)
	wrt := []bool{true, true, true}[:len(in)]
	o := op{name: "linear", shape: x.withLast(n), wrt: wrt, part: noPart,
		kernel: device.MatMul{Batch: 1, M: rows, N: n, K: k, TransB: true, Bias: b != nil, Act: act,
			Slope: act != device.Identity && act != device.ReLU, Weights: g.isParam(w)}}
	o.diff = func(in []*Node, out, dy *Node) []*Node {
		switch act {
		case device.Identity:
		case device.ReLU: // its derivative can be read off its value
			dy = actBack(out, dy, act)
		default:
			dy = Mul(dy, part(out, 1, out.shape...))
		}
		x, w := in[0], in[1]
		grads := []*Node{nil, matmul(dy, x, device.MatMul{Batch: 1, M: n, N: k, K: rows, TransA: true}, w.shape)}
		if len(in) == 3 {
			grads = append(grads, sumRows(dy, rows, n, in[2].shape))
		}
		grads[0] = matmul(dy, w, device.MatMul{Batch: 1, M: rows, N: k, K: n, Weights: g.isParam(w)}, x.shape)
		return grads
	}
	return g.apply(o, in...)
}

// matmul applies a product whose sizes are known, without a gradient.
func matmul(a, b *Node, k device.MatMul, shape []int) *Node {
	return a.g.apply(op{name: "matmul", shape: shape, part: noPart, kernel: k}, a, b)
}

// MatMul computes op(a)·op(b), where op transposes the last two axes on request.
//
// Two matrices give a matrix. With more axes, a and b agree on the leading ones and the product is taken for each
// pair; a may also have more axes than a matrix b, when transA is false: then all of a's leading axes are rows.
func MatMul(a, b *Node, transA, transB bool) *Node {
	g := a.g
	if g.unusable(a, b) {
		return &Node{g: g}
	}
	if a.Dims() > 2 && b.Dims() == 2 && !transA {
		flat := MatMul(view(a, []int{a.rows(), a.Dim(-1)}), b, false, transB)
		if g.err != nil {
			return flat
		}
		return view(flat, a.withLast(flat.Dim(-1)))
	}
	unfit := func() *Node {
		return g.fail("matmul", "a is %v (transposed: %v), which does not fit b %v (transposed: %v)", a, transA, b, transB)
	}
	if a.Dims() < 2 || a.Dims() != b.Dims() || !slices.Equal(a.shape[:a.Dims()-2], b.shape[:b.Dims()-2]) {
		return unfit()
	}
	m, ka, kb, n := a.Dim(-2), a.Dim(-1), b.Dim(-2), b.Dim(-1)
	if transA {
		m, ka = ka, m
	}
	if transB {
		kb, n = n, kb
	}
	if ka != kb {
		return unfit()
	}
	lead := a.shape[:a.Dims()-2]
	return g.apply(op{name: "matmul", shape: append(slices.Clone(lead), m, n), part: noPart,
		wrt: []bool{true, true},
		kernel: device.MatMul{Batch: elements(lead), M: m, N: n, K: ka, TransA: transA, TransB: transB,
			Weights: g.isParam(b)},
		diff: func(in []*Node, _, dc *Node) []*Node {
			a, b := in[0], in[1]
			da := func() *Node {
				if transA {
					return MatMul(b, dc, transB, true)
				}
				return MatMul(dc, b, false, !transB)
			}
			db := func() *Node {
				if transB {
					return MatMul(dc, a, true, transA)
				}
				return MatMul(a, dc, !transA, false)
			}
			second := db()
			return []*Node{da(), second}
		}}, a, b)
}

// isParam reports whether a node is a parameter or a view of one: a matrix that a backend may pack.
func (g *Graph) isParam(n *Node) bool {
	raw := n.raw
	for raw != nil {
		if l := g.leaves[raw]; l != nil {
			return l.kind == leafParam
		}
		o, ok := raw.Op().(*op)
		if !ok || o.kernel != nil || o.part != noPart {
			return false
		}
		raw = o.in[0].raw
	}
	return false
}
