package main

import (
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// A block computes post-norm attention (Vaswani et al. 2017, §3.1): h = LN(x + attn(x)), then LN(h + mlp(h)).
type block struct {
	arch           architecture
	qkv, out       *nn.Linear
	attnNorm       *nn.LayerNorm
	hidden, output *nn.Linear
	norm           *nn.LayerNorm
}

// newBlock registers the parameters of a block under name.
func newBlock(s *nn.Set, name string, a architecture) *block {
	init, w := nn.Normal(.02), a.Width
	return &block{
		arch:     a,
		qkv:      nn.NewLinear(s, name+".attention.self.qkv", w, 3*w, init, nn.Zeros),
		out:      nn.NewLinear(s, name+".attention.output.dense", w, w, init, nn.Zeros),
		attnNorm: nn.NewLayerNorm(s, name+".attention.output.LayerNorm", w),
		hidden:   nn.NewLinear(s, name+".intermediate.dense", w, a.Hidden, init, nn.Zeros),
		output:   nn.NewLinear(s, name+".output.dense", a.Hidden, w, init, nn.Zeros),
		norm:     nn.NewLayerNorm(s, name+".output.LayerNorm", w),
	}
}

// apply maps the tokens of all texts, x [N, W], to the same shape. The block is a segment of checkpointing.
func (b *block) apply(g *nn.Graph, x *graph.Node, spans *graph.Spans) *graph.Node {
	defer g.Segment()()
	end := g.Scope("attention")
	qkv := b.qkv.Apply(g, x, nn.Identity)
	g.FLOPs += 4 * float64(x.Elements()) * float64(x.Dim(0)/spans.Batch())
	attn := b.out.Apply(g, graph.SpanAttention(qkv, spans, b.arch.Heads, false), nn.Identity)
	x = b.arch.normalise(g, b.attnNorm, graph.Add(attn, x))
	end()
	return b.mlp(g, x)
}

// applyAt returns those rows of apply's value, [B, W], that rows i32 [B] pick, one in each text. It computes keys and values for
// all tokens, and the rest for the picked ones only.
func (b *block) applyAt(g *nn.Graph, x, rows *graph.Node, spans *graph.Spans) *graph.Node {
	defer g.Segment()()
	end := g.Scope("attention")
	qkv := b.qkv.Apply(g, x, nn.Identity)
	g.FLOPs += 4 * float64(x.Elements())
	attn := b.out.Apply(g, graph.AttentionAt(qkv, rows, spans, b.arch.Heads, false), nn.Identity)
	x = b.arch.normalise(g, b.attnNorm, graph.Add(attn, graph.SelectRows(x, rows)))
	end()
	return b.mlp(g, x)
}

// mlp computes LN(x + mlp(x)).
func (b *block) mlp(g *nn.Graph, x *graph.Node) *graph.Node {
	defer g.Scope("mlp")()
	hidden := b.hidden.Apply(g, x, b.arch.activation())
	return b.arch.normalise(g, b.norm, graph.Add(b.output.Apply(g, hidden, nn.Identity), x))
}

// normalise applies a layer norm with the model's epsilon.
func (a architecture) normalise(g *nn.Graph, l *nn.LayerNorm, x *graph.Node) *graph.Node {
	return graph.LayerNorm(x, g.P(l.Gain), g.P(l.Shift), a.Eps)
}

// activation returns the function between the layers of the MLPs.
func (a architecture) activation() nn.Activation {
	if a.Act == "relu" {
		return nn.ReLU
	}
	return nn.ActivationOf(a.Act)
}
