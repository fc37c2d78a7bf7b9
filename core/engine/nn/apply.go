package nn

import (
	"strconv"

	"tandem/core/engine/graph"
)

// Apply gives act(x·Wᵀ + b) for x [..., In] → [..., Out].
func (l *Linear) Apply(g *Graph, x *graph.Node, act Activation) *graph.Node {
	g.count(x, l.Out)
	if g.layer(l.Weight) == nil {
		return graph.Linear(x, g.P(l.Weight), g.P(l.Bias), act)
	}
	y := g.adapt(graph.Linear(x, g.P(l.Weight), g.P(l.Bias), Identity), x, l.Weight)
	if act == Identity {
		return y
	}
	return graph.Act(y, act)
}

// Project gives x·p for x [..., In] and a parameter [In, Out]: CLIP's projections, which have no bias.
func Project(g *Graph, x *graph.Node, p *Param) *graph.Node {
	g.count(x, p.Shape[1])
	return g.adaptProjection(graph.MatMul(x, g.P(p), false, false), x, p)
}

// Apply normalises the last axis of x.
func (l *LayerNorm) Apply(g *Graph, x *graph.Node) *graph.Node {
	return graph.LayerNorm(x, g.P(l.Gain), g.P(l.Shift), l.Eps)
}

// apply maps x [B, T, W] or, with spans, [N, W] to the same shape. The block is a segment of checkpointing.
func (b *Block) apply(g *Graph, x *graph.Node, spans *graph.Spans) *graph.Node {
	defer g.Segment()()
	end := g.Scope("attn")
	qkv := b.qkv.Apply(g, b.ln1.Apply(g, x), Identity)
	var out *graph.Node
	if spans == nil {
		out = graph.Attention(qkv, b.cfg.Heads, b.cfg.Causal)
		b.count(g, x.Elements(), x.Dim(1))
	} else {
		out = graph.SpanAttention(qkv, spans, b.cfg.Heads, b.cfg.Causal)
		b.count(g, x.Elements(), x.Dim(0)/spans.Batch())
	}
	x = graph.Add(b.out.Apply(g, out, Identity), x)
	end()
	return b.mlp(g, x)
}

// applyAt returns those rows of apply's value, [B, W], that rows i32 [B] pick by their flat place. It computes keys
// and values for all tokens, and the rest for the picked ones only.
func (b *Block) applyAt(g *Graph, x, rows *graph.Node, spans *graph.Spans) *graph.Node {
	defer g.Segment()()
	end := g.Scope("attn")
	qkv := b.qkv.Apply(g, b.ln1.Apply(g, x), Identity)
	b.count(g, x.Elements(), 1)
	out := b.out.Apply(g, graph.AttentionAt(qkv, rows, spans, b.cfg.Heads, b.cfg.Causal), Identity)
	x = graph.Add(out, graph.SelectRows(x, rows))
	end()
	return b.mlp(g, x)
}

// count adds the work of q·kᵀ and its product with v, for keys of so many elements and queries of each.
func (b *Block) count(g *Graph, elements, queries int) {
	g.FLOPs += 4 * float64(elements) * float64(queries)
}

// mlp computes x + mlp(ln_2 x).
func (b *Block) mlp(g *Graph, x *graph.Node) *graph.Node {
	defer g.Scope("mlp")()
	hidden := b.hidden.Apply(g, b.ln2.Apply(g, x), b.cfg.Act)
	return graph.Add(b.output.Apply(g, hidden, Identity), x)
}

// Apply maps x [B, T, W] to the same shape.
func (t *Transformer) Apply(g *Graph, x *graph.Node) *graph.Node {
	return t.apply(g, x, nil, len(t.Blocks))
}

// ApplySpans maps the rows of sequences of different lengths, x [N, W], to the same shape.
func (t *Transformer) ApplySpans(g *Graph, x *graph.Node, spans *graph.Spans) *graph.Node {
	return t.apply(g, x, spans, len(t.Blocks))
}

// ApplyAt maps x [B, T, W] to those rows of Apply's value, [B, W], that rows i32 [B] pick by their flat
// place b·T + t, one in each sequence. Of the last block it computes no more than they need, three
// quarters of its work less: the numbers of Apply but for rounding. With spans (nil for none) the sequences
// are of different lengths, x is [N, W], and rows are rows of x.
func (t *Transformer) ApplyAt(g *Graph, x, rows *graph.Node, spans *graph.Spans) *graph.Node {
	last := len(t.Blocks) - 1
	if last < 0 {
		return graph.SelectRows(x, rows)
	}
	x = t.apply(g, x, spans, last)
	defer g.Scope("resblocks." + strconv.Itoa(last))()
	return t.Blocks[last].applyAt(g, x, rows, spans)
}

// apply runs the first n blocks.
func (t *Transformer) apply(g *Graph, x *graph.Node, spans *graph.Spans, n int) *graph.Node {
	for i, b := range t.Blocks[:n] {
		end := g.Scope("resblocks." + strconv.Itoa(i))
		x = b.apply(g, x, spans)
		end()
	}
	return x
}

// Apply maps x [B, H, W, In] to [B, H', W', Out].
func (c *Conv2D) Apply(g *Graph, x *graph.Node) *graph.Node {
	y := graph.Conv2D(x, g.P(c.Weight), c.Stride, c.Pad)
	g.FLOPs += 2 * float64(y.Elements()) * float64(c.In*c.Size*c.Size)
	return g.lowRank(y, x, c.Weight, func(x, a *graph.Node) *graph.Node {
		h := graph.Conv2D(x, a, c.Stride, c.Pad)
		g.FLOPs += 2 * float64(h.Elements()) * float64(c.In*c.Size*c.Size)
		return h
	})
}

// Apply gives act of x [B, H, W, C] normalised; act is Identity or ReLU.
func (b *BatchNorm) Apply(g *Graph, x *graph.Node, act Activation) *graph.Node {
	training := g.Training() && (b.Gain.Trained(g.Step) || b.Shift.Trained(g.Step))
	return graph.BatchNorm(x, g.P(b.Gain), g.P(b.Shift), g.S(b.Mean), g.S(b.Variance), bnMomentum, Eps, act, training)
}

// Apply maps x [B, H, W, In] to [B, H/stride, W/stride, 4·width]. The block is a segment of checkpointing.
func (b *Bottleneck) Apply(g *Graph, x *graph.Node) *graph.Node {
	defer g.Segment()()
	y := b.b1.Apply(g, b.c1.Apply(g, x), ReLU)
	y = b.b2.Apply(g, b.c2.Apply(g, y), ReLU)
	if b.avgDown && b.stride > 1 {
		y = graph.AvgPool(y, b.stride, b.stride)
	}
	y = b.b3.Apply(g, b.c3.Apply(g, y), Identity)
	if b.shortcut != nil {
		if b.avgDown && b.stride > 1 {
			x = graph.AvgPool(x, b.stride, b.stride)
		}
		x = b.shortcutNorm.Apply(g, b.shortcut.Apply(g, x), Identity)
	}
	return graph.Act(graph.Add(y, x), ReLU)
}

// Apply runs the blocks one after another.
func (s *Stage) Apply(g *Graph, x *graph.Node) *graph.Node {
	for i, b := range s.Blocks {
		end := g.Scope(strconv.Itoa(i))
		x = b.Apply(g, x)
		end()
	}
	return x
}

// Apply maps a feature map [B, side, side, width] to [B, out].
func (a *AttentionPool) Apply(g *Graph, x *graph.Node) *graph.Node {
	defer g.Scope("attnpool")()
	b := x.Dim(0)
	x = graph.Reshape(x, b, a.tokens-1, a.Width)
	mean := graph.Reshape(graph.MeanTokens(x, nil), b, 1, a.Width)
	x = graph.Add(graph.ConcatTokens(mean, x), g.P(a.position))
	q := a.q.Apply(g, graph.SliceTokens(x, 0, 1), Identity)
	k, v := a.k.Apply(g, x, Identity), a.v.Apply(g, x, Identity)
	g.FLOPs += 4 * float64(b*a.tokens) * float64(a.Width)
	out := graph.CrossAttention(q, k, v, a.Heads, false)
	return a.c.Apply(g, graph.Reshape(out, b, a.Width), Identity)
}

// Apply maps tokens [B, T, width] to [B, width].
func (a *LatentPool) Apply(g *Graph, x *graph.Node) *graph.Node {
	defer g.Scope("attn_pool")()
	b, w := x.Dim(0), a.width
	q := graph.Broadcast(a.q.Apply(g, g.P(a.latent), Identity), b) // [B, 1, W]: the same for every picture
	k, v := a.k.Apply(g, x, Identity), a.v.Apply(g, x, Identity)
	g.FLOPs += 4 * float64(x.Elements())
	x = a.proj.Apply(g, graph.Reshape(graph.CrossAttention(q, k, v, a.heads, false), b, w), Identity)
	return graph.Add(a.output.Apply(g, a.hidden.Apply(g, a.norm.Apply(g, x), a.act), Identity), x)
}

// count adds the work of a product of x [..., In] with a matrix of out columns.
func (g *Graph) count(x *graph.Node, out int) {
	g.FLOPs += 2 * float64(x.Elements()) * float64(out)
}
