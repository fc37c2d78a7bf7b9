package graph

import (
	"testing"

	"tandem/core/engine/device"
)

// TestGradients holds every operation's gradient against finite differences in float64.
func TestGradients(t *testing.T) {
	sh := func(shapes ...[]int) [][]int { return shapes }
	is := func(d ...int) []int { return d }
	cases := []gradCase{
		{name: "linear", shapes: sh(is(2, 3, 5), is(4, 5), is(4)), build: func(_ *Graph, p []*Node) *Node {
			return Linear(p[0], p[1], p[2], device.Identity)
		}},
		{name: "linear gelu", shapes: sh(is(3, 5), is(4, 5), is(4)), build: func(_ *Graph, p []*Node) *Node {
			return Linear(p[0], p[1], p[2], device.GELU)
		}},
		{name: "linear quickgelu without bias", shapes: sh(is(3, 5), is(4, 5)), build: func(_ *Graph, p []*Node) *Node {
			return Linear(p[0], p[1], nil, device.QuickGELU)
		}},
		{name: "linear relu", shapes: sh(is(3, 5), is(4, 5), is(4)), build: func(_ *Graph, p []*Node) *Node {
			return Linear(p[0], p[1], p[2], device.ReLU)
		}},
		{name: "linear one output", shapes: sh(is(3, 5), is(1, 5), is(1)), build: func(_ *Graph, p []*Node) *Node {
			return Linear(p[0], p[1], p[2], device.Identity)
		}},
		{name: "matmul", shapes: sh(is(3, 5), is(5, 4)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], false, false)
		}},
		{name: "matmul aT", shapes: sh(is(5, 3), is(5, 4)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], true, false)
		}},
		{name: "matmul bT", shapes: sh(is(3, 5), is(4, 5)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], false, true)
		}},
		{name: "matmul aT bT", shapes: sh(is(5, 3), is(4, 5)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], true, true)
		}},
		{name: "matmul batched", shapes: sh(is(2, 3, 5), is(2, 4, 5)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], false, true)
		}},
		{name: "matmul batched aT", shapes: sh(is(2, 5, 3), is(2, 5, 4)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], true, false)
		}},
		{name: "matmul rows", shapes: sh(is(2, 3, 5), is(5, 4)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[1], false, false)
		}},
		{name: "matmul with itself", shapes: sh(is(3, 4)), build: func(_ *Graph, p []*Node) *Node {
			return MatMul(p[0], p[0], false, true)
		}},
		{name: "add", shapes: sh(is(3, 4), is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Add(p[0], p[1]) }},
		{name: "add positions", shapes: sh(is(2, 3, 4), is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Add(p[0], p[1]) }},
		{name: "sub row", shapes: sh(is(2, 3, 4), is(4)), build: func(_ *Graph, p []*Node) *Node { return Sub(p[0], p[1]) }},
		{name: "sub", shapes: sh(is(3, 4), is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Sub(p[0], p[1]) }},
		{name: "mul", shapes: sh(is(3, 4), is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Mul(p[0], p[1]) }},
		{name: "mul scalar", shapes: sh(is(3, 4), is(1)), build: func(_ *Graph, p []*Node) *Node { return Mul(p[0], p[1]) }},
		{name: "square", shapes: sh(is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Mul(p[0], p[0]) }},
		{name: "scale", shapes: sh(is(3, 4)), build: func(_ *Graph, p []*Node) *Node { return Scale(p[0], -1.5, 0.25) }},
		{name: "scale by exp", shapes: sh(is(3, 4), is(1)), build: func(_ *Graph, p []*Node) *Node { return ScaleByExp(p[0], p[1]) }},
		{name: "scale by", shapes: sh(is(3, 4), is(1)), build: func(_ *Graph, p []*Node) *Node { return ScaleBy(p[0], p[1]) }},
		{name: "gelu", shapes: sh(is(12)), build: func(_ *Graph, p []*Node) *Node { return Act(p[0], device.GELU) }},
		{name: "quickgelu", shapes: sh(is(12)), build: func(_ *Graph, p []*Node) *Node { return Act(p[0], device.QuickGELU) }},
		{name: "tanh gelu", shapes: sh(is(12)), build: func(_ *Graph, p []*Node) *Node { return Act(p[0], device.TanhGELU) }},
		{name: "relu", shapes: sh(is(12)), build: func(_ *Graph, p []*Node) *Node { return Act(p[0], device.ReLU) }},
		{name: "softplus", shapes: sh(is(12)), build: func(_ *Graph, p []*Node) *Node { return Softplus(p[0]) }},
		{name: "max cols", shapes: sh(is(3, 5)), build: func(_ *Graph, p []*Node) *Node { return MaxCols(p[0]) }},
		{name: "max of one axis", shapes: sh(is(6)), build: func(_ *Graph, p []*Node) *Node { return MaxCols(p[0]) }},
		{name: "max of one", shapes: sh(is(6, 1)), build: func(_ *Graph, p []*Node) *Node { return MaxCols(p[0]) }},
		{name: "reshape transpose", shapes: sh(is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node {
			return Transpose(Reshape(p[0], 2, 2, -1))
		}},
		{name: "layer norm", shapes: sh(is(2, 3, 5), is(5), is(5)), build: func(_ *Graph, p []*Node) *Node {
			return LayerNorm(p[0], p[1], p[2], 1e-5)
		}},
		{name: "l2 norm", shapes: sh(is(3, 5)), build: func(_ *Graph, p []*Node) *Node { return L2Norm(p[0], 1e-12) }},
		{name: "batch norm relu", shapes: sh(is(7, 3), is(3), is(3)), build: func(g *Graph, p []*Node) *Node {
			return BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1e-5, device.ReLU, true)
		}},
		{name: "batch norm", shapes: sh(is(2, 2, 2, 3), is(3), is(3)), build: func(g *Graph, p []*Node) *Node {
			return BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1e-5, device.Identity, true)
		}},
		{name: "batch norm fixed", shapes: sh(is(7, 3), is(3), is(3)), build: func(g *Graph, p []*Node) *Node {
			return BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1, device.ReLU, false)
		}},
		{name: "batch norm and a residual", shapes: sh(is(2, 2, 2, 3), is(3), is(3), is(2, 2, 2, 3)), build: func(g *Graph, p []*Node) *Node {
			return Act(Add(BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1e-5, device.Identity, true), p[3]), device.ReLU)
		}},
		{name: "fixed batch norm and a residual", shapes: sh(is(7, 3), is(3), is(3), is(7, 3)), build: func(g *Graph, p []*Node) *Node {
			return Act(Add(p[3], BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1, device.Identity, false)), device.ReLU)
		}},
		{name: "batch norm used twice", shapes: sh(is(7, 3), is(3), is(3)), build: func(g *Graph, p []*Node) *Node {
			y := BatchNorm(p[0], p[1], p[2], g.State("m", 3), g.State("v", 3), .1, 1e-5, device.Identity, true)
			return Add(y, Act(Add(y, p[0]), device.ReLU))
		}},
		{name: "attention", shapes: sh(is(2, 3, 12)), build: func(_ *Graph, p []*Node) *Node { return Attention(p[0], 2, false) }},
		{name: "attention causal", shapes: sh(is(2, 4, 12)), build: func(_ *Graph, p []*Node) *Node { return Attention(p[0], 2, true) }},
		{name: "attention at", shapes: sh(is(2, 4, 12)), ids: []int32{2, 4}, build: func(g *Graph, p []*Node) *Node {
			return AttentionAt(p[0], g.Input("ids", device.I32, 2), nil, 2, true)
		}},
		{name: "span attention", shapes: sh(is(6, 12)), ids: []int32{0, 1, 4}, build: func(g *Graph, p []*Node) *Node {
			return SpanAttention(p[0], &Spans{Starts: g.Input("ids", device.I32, 3), Longest: 4}, 2, true)
		}},
		{name: "cross attention", shapes: sh(is(2, 1, 6), is(2, 4, 6), is(2, 4, 6)), build: func(_ *Graph, p []*Node) *Node {
			return CrossAttention(p[0], p[1], p[2], 2, false)
		}},
		{name: "conv", shapes: sh(is(2, 4, 4, 3), is(2, 3, 3, 3)), build: func(_ *Graph, p []*Node) *Node { return Conv2D(p[0], p[1], 1, 1) }},
		{name: "conv stride", shapes: sh(is(1, 5, 5, 2), is(3, 2, 3, 3)), build: func(_ *Graph, p []*Node) *Node { return Conv2D(p[0], p[1], 2, 1) }},
		{name: "avg pool", shapes: sh(is(2, 4, 4, 3)), build: func(_ *Graph, p []*Node) *Node { return AvgPool(p[0], 2, 2) }},
		{name: "max pool", shapes: sh(is(2, 5, 5, 2)), build: func(_ *Graph, p []*Node) *Node { return MaxPool(p[0], 3, 2, 1) }},
		{name: "gather", shapes: sh(is(4, 3)), ids: []int32{1, 3, 1, 0}, build: func(g *Graph, p []*Node) *Node {
			return Gather(p[0], g.Input("ids", device.I32, 2, 2))
		}},
		{name: "select rows", shapes: sh(is(2, 3, 4)), ids: []int32{2, 3}, build: func(g *Graph, p []*Node) *Node {
			return SelectRows(p[0], g.Input("ids", device.I32, 2))
		}},
		{name: "concat", shapes: sh(is(2, 1, 4), is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node { return ConcatTokens(p[0], p[1]) }},
		{name: "concat broadcast", shapes: sh(is(1, 4), is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node { return ConcatTokens(p[0], p[1]) }},
		{name: "slice", shapes: sh(is(2, 4, 3)), build: func(_ *Graph, p []*Node) *Node { return SliceTokens(p[0], 1, 2) }},
		{name: "mean tokens", shapes: sh(is(2, 4, 3)), build: func(_ *Graph, p []*Node) *Node { return MeanTokens(p[0], nil) }},
		{name: "mean tokens lengths", shapes: sh(is(2, 4, 3)), ids: []int32{2, 4}, build: func(g *Graph, p []*Node) *Node {
			return MeanTokens(p[0], g.Input("ids", device.I32, 2))
		}},
		{name: "sum rows", shapes: sh(is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node { return SumRows(Mul(p[0], p[0])) }},
		{name: "sum cols", shapes: sh(is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node { return SumCols(Mul(p[0], p[0])) }},
		{name: "mean all", shapes: sh(is(2, 3, 4)), build: func(_ *Graph, p []*Node) *Node { return MeanAll(Mul(p[0], p[0])) }},
		{name: "broadcast", shapes: sh(is(3)), build: func(_ *Graph, p []*Node) *Node { return Broadcast(p[0], 2, 2) }},
		{name: "cross entropy", shapes: sh(is(3, 4)), ids: []int32{2, 0, 3}, build: func(g *Graph, p []*Node) *Node {
			return CrossEntropy(p[0], g.Input("ids", device.I32, 3), 0.1)
		}},
		{name: "softmax", shapes: sh(is(3, 4)), ids: []int32{2, 0, 3}, build: func(g *Graph, p []*Node) *Node {
			return Softmax(p[0], g.Input("ids", device.I32, 3))
		}},
		{name: "softmax of one row", shapes: sh(is(1, 5)), ids: []int32{4}, build: func(g *Graph, p []*Node) *Node {
			return Softmax(p[0], g.Input("ids", device.I32, 1))
		}},
		{name: "constant", shapes: sh(is(3)), build: func(g *Graph, p []*Node) *Node {
			return Mul(p[0], g.Const([]float32{1, -2, 3}, 3))
		}},
		{name: "value used three times", shapes: sh(is(3, 3)), build: func(_ *Graph, p []*Node) *Node {
			x := Act(p[0], device.GELU)
			return Add(Add(MatMul(x, x, false, false), x), Mul(x, p[0]))
		}},
		{name: "same gradient for two parameters", shapes: sh(is(3), is(3)), build: func(_ *Graph, p []*Node) *Node {
			return Add(p[0], p[1])
		}},
	}
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}
