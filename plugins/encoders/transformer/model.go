package main

import (
	"math"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/media/token"
)

// model holds CLIP's text transformer (Radford et al. 2019; 2021, §2.4): token and position embeddings, pre-norm
// blocks under a causal mask, ln_final, the feature at the end-of-text token and a linear projection without bias.
type model struct {
	cfg       Config
	embedDim  int
	set       nn.Set
	tokens    *nn.Param // [V, W]
	positions *nn.Param // [T, W]
	blocks    *nn.Transformer
	lnFinal   *nn.LayerNorm
	proj      *nn.Param // [W, D]
}

// newModel registers the parameters, under the names and with the initialisers of OpenCLIP.
func newModel(cfg Config, embedDim int) *model {
	m := &model{cfg: cfg, embedDim: embedDim}
	w := float64(cfg.Width)
	attn := 1 / math.Sqrt(w)
	residual := attn / math.Sqrt(2*float64(max(cfg.Layers, 1)))
	m.positions = m.set.Embedding("positional_embedding", nn.Normal(.01), cfg.ContextLength, cfg.Width)
	m.set.Enter(nn.Head)
	m.proj = m.set.Param("text_projection", nn.Normal(attn), cfg.Width, embedDim)
	m.blocks = nn.NewTransformer(&m.set, "transformer", cfg.Layers, nn.BlockConfig{
		Width: cfg.Width, Heads: cfg.Heads, Hidden: int(w * cfg.MLPRatio), Act: nn.ActivationOf(cfg.Act), Causal: cfg.Causal,
		InProj: nn.Normal(attn), OutProj: nn.Normal(residual),
		FC: nn.Normal(1 / math.Sqrt(2*w)), Proj: nn.Normal(residual),
	})
	m.set.Enter(nn.Stem)
	m.tokens = m.set.Param("token_embedding.weight", nn.Normal(.02), cfg.VocabSize, cfg.Width)
	m.set.Enter(nn.Head)
	m.lnFinal = nn.NewLayerNorm(&m.set, "ln_final", cfg.Width)
	return m
}

// Params implements tower.TextModel.
func (m *model) Params() *nn.Set { return &m.set }

// Config implements tower.TextModel.
func (m *model) Config() any { return m.cfg }

// ContextLength implements tower.TextModel.
func (m *model) ContextLength() int { return m.cfg.ContextLength }

// VocabSize implements tower.TextModel.
func (m *model) VocabSize() int { return m.cfg.VocabSize }

// FullContext implements tower.TextModel: padding after a caption has no influence on it when tokens
// see only what precedes them and one of them is pooled that lies within the caption.
func (m *model) FullContext() bool {
	return !m.cfg.Causal || m.cfg.PoolType == "last" || m.cfg.PoolType == "mean"
}

// Build implements tower.TextModel.
func (m *model) Build(g *nn.Graph, ids *graph.Node, batch int) *graph.Node {
	if m.FullContext() {
		return m.buildPadded(g, ids)
	}
	tokens := ids.Dim(0)
	places := g.Indices("positions", func(dst []int32, c *nn.Call) { // of each token in its caption
		clear(dst)
		for i, n := range c.Lengths {
			for t := range n {
				dst[c.Starts[i]+t] = t
			}
		}
	}, tokens)
	starts := g.Indices("starts", func(dst []int32, c *nn.Call) { copy(dst, c.Starts) }, batch+1)
	rows := g.Indices("pool", func(dst []int32, c *nn.Call) {
		for i := range dst {
			dst[i] = c.Starts[i] + m.position(i, c)
		}
	}, batch)
	x := graph.Add(graph.Gather(g.P(m.tokens), ids), graph.Gather(g.P(m.positions), places)) // [N, W]
	x = m.blocks.ApplyAt(g, x, rows, &graph.Spans{Starts: starts, Longest: m.cfg.ContextLength})
	return nn.Project(g, m.lnFinal.Apply(g, x), m.proj) // a layer norm of the pooled token alone
}

// buildPadded builds the network for ids [B, ContextLength].
func (m *model) buildPadded(g *nn.Graph, ids *graph.Node) *graph.Node {
	b, t := ids.Dim(0), ids.Dim(1)
	x := graph.Add(graph.Gather(g.P(m.tokens), ids), g.P(m.positions)) // [B, T, W]
	if m.cfg.PoolType == "mean" {
		x = m.blocks.Apply(g, x)
		lengths := g.Indices("lengths", func(dst []int32, c *nn.Call) { copy(dst, c.Lengths) }, b)
		return nn.Project(g, graph.MeanTokens(m.lnFinal.Apply(g, x), lengths), m.proj)
	}
	rows := g.Indices("pool", func(dst []int32, c *nn.Call) {
		for i := range dst {
			dst[i] = int32(i*t) + m.position(i, c)
		}
	}, b)
	x = m.blocks.ApplyAt(g, x, rows, nil)
	return nn.Project(g, m.lnFinal.Apply(g, x), m.proj)
}

// position returns which token of caption i stands for the caption.
func (m *model) position(i int, c *nn.Call) int32 {
	switch m.cfg.PoolType {
	case "argmax":
		return c.Ends[i]
	case "eos":
		return c.Lengths[i] - 1
	case "last":
		return int32(m.cfg.ContextLength) - 1
	}
	return 0
}

// Tokenizer implements tower.TextModel.
func (m *model) Tokenizer(captions []string) (token.Tokenizer, error) {
	switch m.cfg.Tokenizer {
	case "clip":
		return token.ReadMerges(m.cfg.Merges)
	case "byte":
		return token.NewBytes(m.cfg.VocabSize)
	}
	if len(captions) == 0 {
		return nil, nil
	}
	return token.Train(captions, m.cfg.VocabSize)
}
