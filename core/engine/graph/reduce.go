package graph

import "tandem/core/engine/device"

// SumRows sums over all axes but the last: x [..., C] → [C].
func SumRows(x *Node) *Node {
	if x.g.unusable(x) {
		return x
	}
	return sumRows(x, x.rows(), x.Dim(-1), []int{x.Dim(-1)})
}

// sumRows views x as [rows, cols] and sums the rows into shape (cols elements).
func sumRows(x *Node, rows, cols int, shape []int) *Node {
	if cols == 1 {
		return view(sumCols(x, 1, rows, []int{1}), shape)
	}
	return x.g.apply(op{name: "sum_rows", shape: shape, part: noPart, wrt: []bool{true},
		kernel: device.SumRows{Rows: rows, Cols: cols},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{broadcastRows(dy, rows, cols, in[0].shape)}
		}}, x)
}

// SumCols sums over the last axis: x [..., C] → [...] ([1] when x has one axis).
func SumCols(x *Node) *Node {
	if x.g.unusable(x) {
		return x
	}
	shape := x.withLast()
	if len(shape) == 0 {
		shape = []int{1}
	}
	return sumCols(x, x.rows(), x.Dim(-1), shape)
}

func sumCols(x *Node, rows, cols int, shape []int) *Node {
	return x.g.apply(op{name: "sum_cols", shape: shape, part: noPart, wrt: []bool{true},
		kernel: device.SumCols{Rows: rows, Cols: cols},
		diff: func(in []*Node, _, dy *Node) []*Node {
			if rows == 1 {
				return []*Node{broadcastRows(dy, cols, 1, in[0].shape)}
			}
			return []*Node{view(Transpose(broadcastRows(dy, cols, rows, []int{cols, rows})), in[0].shape)}
		}}, x)
}

// MaxCols takes the largest of the last axis: x [..., C] → [...] ([1] when x has one axis), but for rounding at the size
// of the numbers compared, which are finite. The gradient goes to the largest; among equals to one of them.
//
// It compares halves, max(a, b) = a + ReLU(b − a), so that no backend needs a kernel for it.
func MaxCols(x *Node) *Node {
	if x.g.unusable(x) {
		return x
	}
	shape := x.withLast()
	if len(shape) == 0 {
		shape = []int{1}
	}
	y := Reshape(x, x.rows(), x.Dim(-1), 1)
	for y.g.err == nil && y.Dim(1) > 1 {
		c, half := y.Dim(1), y.Dim(1)/2
		a := SliceTokens(y, 0, half)
		most := Add(a, Act(Sub(SliceTokens(y, half, half), a), device.ReLU))
		if c%2 == 1 {
			most = ConcatTokens(most, SliceTokens(y, c-1, 1))
		}
		y = most
	}
	return Reshape(y, shape...)
}

// SumAll adds up all elements, [1].
func SumAll(x *Node) *Node { return sumCols(x, 1, x.Elements(), []int{1}) }

// MeanAll averages all elements, [1].
func MeanAll(x *Node) *Node { return Scale(SumAll(x), 1/float64(max(x.Elements(), 1)), 0) }

// Broadcast repeats x over new leading axes of the given sizes: x [...] → [lead..., ...].
func Broadcast(x *Node, lead ...int) *Node {
	return broadcastRows(x, elements(lead), x.Elements(), append(lead[:len(lead):len(lead)], x.shape...))
}

// broadcastRows repeats x (cols elements) rows times into shape.
func broadcastRows(x *Node, rows, cols int, shape []int) *Node {
	return x.g.apply(op{name: "broadcast_rows", shape: shape, part: noPart, wrt: []bool{true},
		kernel: device.BroadcastRows{Rows: rows, Cols: cols}, scalars: []float64{1},
		diff: func(in []*Node, _, dy *Node) []*Node { return []*Node{sumRows(dy, rows, cols, in[0].shape)} }}, x)
}

// CrossEntropy computes logsumexp(x[i]) − Σj q[i, j]·x[i, j] for each row i, in nats: x [R, C], targets i32 [R] in [0,
// C) → [R]. q puts 1 − smooth on the target and spreads smooth evenly over all C.
func CrossEntropy(x, targets *Node, smooth float64) *Node {
	g := x.g
	if g.unusable(x, targets) {
		return &Node{g: g}
	}
	if x.Dims() != 2 || targets.dtype != device.I32 || targets.Elements() != x.Dim(0) {
		return g.fail("cross_entropy", "x is %v, targets %s %v; want x [R, C] and targets i32 [R]", x, targets.dtype, targets)
	}
	k := device.CrossEntropy{Rows: x.Dim(0), Cols: x.Dim(1), Smooth: smooth}
	return g.apply(op{name: "cross_entropy", shape: []int{k.Rows}, part: noPart, wrt: []bool{true, false},
		kernel: k,
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{g.apply(op{name: "cross_entropy.back", shape: in[0].shape, part: noPart,
				kernel: device.CrossEntropyBack(k)}, in[0], in[1], dy), nil}
		}}, x, targets)
}

// Softmax computes exp(x[i, j])/Σk exp(x[i, k]) for each row: x [R, C], targets i32 [R] in [0, C) → [R, C]. The value does
// not depend on targets: it is the gradient of CrossEntropy with all of the target spread, 1/C for each column, and 1/C
// more, so that no backend needs a kernel for it.
func Softmax(x, targets *Node) *Node {
	g := x.g
	if g.unusable(x, targets) {
		return &Node{g: g}
	}
	if x.Dims() != 2 || targets.dtype != device.I32 || targets.Elements() != x.Dim(0) {
		return g.fail("softmax", "x is %v, targets %s %v; want x [R, C] and targets i32 [R]", x, targets.dtype, targets)
	}
	rows, cols := x.Dim(0), x.Dim(1)
	share, ones := 1/float64(cols), make([]float32, rows)
	for i := range ones {
		ones[i] = 1
	}
	less := g.apply(op{name: "softmax", shape: x.shape, part: noPart, wrt: []bool{true, false, false},
		kernel: device.CrossEntropyBack{Rows: rows, Cols: cols, Smooth: 1},
		diff: func(_ []*Node, out, dy *Node) []*Node { // p·(dy − Σk p[k]·dy[k])
			p := Scale(out, 1, share)
			weighed := Mul(p, dy)
			sums := SumCols(weighed)
			spread := broadcastRows(sums, cols, rows, []int{cols, rows})
			if rows > 1 {
				spread = Transpose(spread)
			}
			return []*Node{Sub(weighed, Mul(p, view(spread, x.shape))), nil, nil}
		}}, x, targets, g.Const(ones, rows))
	return Scale(less, 1, share)
}
