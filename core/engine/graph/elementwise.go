package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// Add computes a + b. b's shape is a's, or a suffix of it, or [1]: b repeats over the leading axes, as positions [T,
// W] do over a batch [B, T, W].
func Add(a, b *Node) *Node { return arith("add", device.OpAdd, a, b) }

// Sub computes a − b; shapes as for Add.
func Sub(a, b *Node) *Node { return arith("sub", device.OpSub, a, b) }

// Mul computes a·b elementwise; shapes as for Add.
func Mul(a, b *Node) *Node { return arith("mul", device.OpMul, a, b) }

func arith(name string, operator byte, a, b *Node) *Node {
	g := a.g
	if g.unusable(a, b) {
		return &Node{g: g}
	}
	fits := b.Elements() == 1 || b.Dims() <= a.Dims() && slices.Equal(a.shape[a.Dims()-b.Dims():], b.shape)
	if !fits {
		return g.fail(name, "a is %v, which does not fit b %v; want equal shapes, or b's as a suffix of a's, or [1]", a, b)
	}
	n, period := a.Elements(), b.Elements()
	return g.apply(op{name: name, shape: a.shape, part: noPart, wrt: []bool{true, true},
		kernel: device.Binary{N: n, Period: period, Op: operator},
		diff: func(in []*Node, _, dy *Node) []*Node {
			a, b := in[0], in[1]
			da, db := dy, dy
			switch operator {
			case device.OpMul:
				da, db = Mul(dy, b), Mul(dy, a)
			case device.OpSub:
				db = Scale(dy, -1, 0)
			}
			if period < n {
				db = sumRows(db, n/period, period, b.shape)
			} else if !slices.Equal(db.shape, b.shape) {
				db = view(db, b.shape)
			}
			return []*Node{da, db}
		}}, a, b)
}

// Scale computes alpha·x + beta for fixed numbers.
func Scale(x *Node, alpha, beta float64) *Node {
	return x.g.apply(op{name: "scale", shape: x.shape, part: noPart, wrt: []bool{true},
		kernel: device.Scale{N: x.Elements()}, scalars: []float64{alpha, beta},
		diff: func(_ []*Node, _, dy *Node) []*Node { return []*Node{Scale(dy, alpha, 0)} }}, x)
}

// ScaleByExp computes exp(s)·x for a scalar s [1], such as a learned logit scale.
func ScaleByExp(x, s *Node) *Node { return scaleBy(x, s, true) }

// ScaleBy computes s·x for a scalar s [1].
func ScaleBy(x, s *Node) *Node { return scaleBy(x, s, false) }

func scaleBy(x, s *Node, exp bool) *Node {
	g := x.g
	if g.unusable(x, s) {
		return &Node{g: g}
	}
	if s.Elements() != 1 {
		return g.fail("scale_by", "s is %v, want [1]", s)
	}
	n := x.Elements()
	return g.apply(op{name: "scale_by", shape: x.shape, part: noPart, wrt: []bool{true, true},
		kernel: device.ScaleBy{N: n, Exp: exp},
		diff: func(in []*Node, _, dy *Node) []*Node {
			dx := g.apply(op{name: "scale_by.back", shape: in[0].shape, part: noPart,
				kernel: device.ScaleByBack{N: n, Exp: exp}}, in[0], in[1], dy)
			return []*Node{dx, part(dx, 1, in[1].shape...)}
		}}, x, s)
}

// Act applies an elementwise activation.
func Act(x *Node, act device.Activation) *Node {
	if act == device.ReLU {
		if y := positive(x); y != nil {
			return y
		}
	}
	return x.g.apply(op{name: "act", shape: x.shape, part: noPart, wrt: []bool{true},
		kernel: device.Act{N: x.Elements(), Act: act},
		diff: func(in []*Node, out, dy *Node) []*Node {
			if act == device.ReLU { // the sign of the value is that of x, so x need not be kept
				return []*Node{actBack(out, dy, act)}
			}
			return []*Node{actBack(in[0], dy, act)}
		}}, x)
}

func actBack(x, dy *Node, act device.Activation) *Node {
	return x.g.apply(op{name: "act.back", shape: x.shape, part: noPart,
		kernel: device.ActBack{N: x.Elements(), Act: act}}, x, dy)
}

// Softplus computes log(1 + exp(x)).
func Softplus(x *Node) *Node {
	n := x.Elements()
	return x.g.apply(op{name: "softplus", shape: x.shape, part: noPart, wrt: []bool{true},
		kernel: device.Softplus{N: n},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{dy.g.apply(op{name: "softplus.back", shape: in[0].shape, part: noPart,
				kernel: device.SoftplusBack{N: n}}, in[0], dy)}
		}}, x)
}

// Reshape gives x another shape of equal size, without a copy. One axis may be −1.
func Reshape(x *Node, shape ...int) *Node {
	if x.g.unusable(x) {
		return x
	}
	shape = slices.Clone(shape)
	if i := slices.Index(shape, -1); i >= 0 {
		shape[i] = 1
		if rest := elements(shape); rest > 0 {
			shape[i] = x.Elements() / rest
		}
	}
	if len(shape) == 0 || elements(shape) != x.Elements() {
		return x.g.fail("reshape", "x is %v, which does not fit shape %v", x, shape)
	}
	return view(x, shape)
}

// Transpose swaps the last two axes: x [..., M, N] → [..., N, M].
func Transpose(x *Node) *Node {
	if x.g.unusable(x) {
		return x
	}
	if x.Dims() < 2 {
		return x.g.fail("transpose", "x is %v, want at least two axes", x)
	}
	m, n := x.Dim(-2), x.Dim(-1)
	shape := append(slices.Clone(x.shape[:x.Dims()-2]), n, m)
	return x.g.apply(op{name: "transpose", shape: shape, part: noPart, wrt: []bool{true},
		kernel: device.Transpose{B: x.Elements() / (m * n), M: m, N: n},
		diff:   func(_ []*Node, _, dy *Node) []*Node { return []*Node{Transpose(dy)} }}, x)
}
