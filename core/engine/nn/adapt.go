package nn

import (
	"fmt"
	"slices"

	"tandem/core/engine/graph"
)

// Layers returns the matrices of the layers applied so far, those that an adapter can change, in order of use: of linear
// layers, projections, convolutions and patch embeddings.
func (g *Graph) Layers() []*Param { return g.layers }

// layer notes that a layer multiplies by w, and returns its adapter, nil when it has none.
func (g *Graph) layer(w *Param) *adapter {
	if !slices.Contains(g.layers, w) {
		g.layers = append(g.layers, w)
	}
	return w.adapter
}

// adapt adds to y = x·Wᵀ, over the last axis of x [..., In], what w's adapter does: scale·(x·Aᵀ)·Bᵀ.
func (g *Graph) adapt(y, x *graph.Node, w *Param) *graph.Node {
	return g.lowRank(y, x, w, func(x, a *graph.Node) *graph.Node {
		rank := a.Dim(0)
		g.count(x, rank)
		return graph.Linear(x, graph.Reshape(a, rank, a.Elements()/rank), nil, Identity)
	})
}

// lowRank adds to y what w's adapter does, where down multiplies x by A. Without an adapter it returns y.
func (g *Graph) lowRank(y, x *graph.Node, w *Param, down func(x, a *graph.Node) *graph.Node) *graph.Node {
	l := g.layer(w)
	if l == nil {
		return y
	}
	h := scaled(down(g.dropout(x, w.Name, l.dropout), g.P(l.a)), l.scale)
	g.count(h, l.b.Shape[0])
	return graph.Add(y, graph.Linear(h, g.P(l.b), nil, Identity))
}

// adaptProjection adds to y = x·P what the adapter of p [In, Out] does: scale·(x·B)·A.
func (g *Graph) adaptProjection(y, x *graph.Node, p *Param) *graph.Node {
	l := g.layer(p)
	if l == nil {
		return y
	}
	rank := l.b.Shape[1]
	g.count(x, rank)
	h := scaled(graph.MatMul(g.dropout(x, p.Name, l.dropout), g.P(l.b), false, false), l.scale)
	g.count(h, p.Shape[1])
	return graph.Add(y, graph.MatMul(h, g.P(l.a), false, false))
}

// scaled gives alpha·x.
func scaled(x *graph.Node, alpha float64) *graph.Node {
	if alpha == 1 {
		return x
	}
	return graph.Scale(x, alpha, 0)
}

// dropout sets a share of the elements of x to zero in graphs for training and multiplies the others by 1/(1 − rate)
// (Srivastava et al. 2014). Which ones is a function of seed, name, step and micro-batch.
func (g *Graph) dropout(x *graph.Node, name string, rate float64) *graph.Node {
	if !g.Training() || rate == 0 {
		return x
	}
	g.Random = true
	n := x.Elements()
	drawn := fmt.Sprintf("dropout.%d", len(g.fills))
	kept := g.Indices(drawn, func(dst []int32, c *Call) {
		chooseKept(dst, rate, c, name+" "+drawn)
	}, n)
	table := g.Const([]float32{0, float32(1 / (1 - rate))}, 2, 1)
	return graph.Mul(x, graph.Reshape(graph.Gather(table, kept), x.Shape()...))
}

// chooseKept writes 0 for a share of dst and 1 for the others.
func chooseKept(dst []int32, rate float64, c *Call, name string) {
	r := Stream(c.Seed, "dropout "+name, c.Step, c.Micro)
	limit := uint64(rate * (1 << 32))
	for i := 0; i < len(dst); i += 2 { // two of each draw
		bits := r.Uint64()
		for k := i; k < min(i+2, len(dst)); k++ {
			dst[k] = 1
			if bits&(1<<32-1) < limit {
				dst[k] = 0
			}
			bits >>= 32
		}
	}
}
