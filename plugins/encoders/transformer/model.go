package main

import (
	"math"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/fault"
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
	projBias  *nn.Param // [D], nil for none
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
	if cfg.ProjBias {
		m.projBias = m.set.Param("text_projection.bias", nn.Zeros, embedDim)
	}
	m.blocks = nn.NewTransformer(&m.set, "transformer", cfg.Layers, nn.BlockConfig{
		Width: cfg.Width, Heads: cfg.Heads, Hidden: int(w * cfg.MLPRatio), Act: nn.ActivationOf(cfg.Act), Causal: cfg.Causal, Eps: cfg.NormEps,
		InProj: nn.Normal(attn), OutProj: nn.Normal(residual),
		FC: nn.Normal(1 / math.Sqrt(2*w)), Proj: nn.Normal(residual),
	})
	m.set.Enter(nn.Stem)
	m.tokens = m.set.Param("token_embedding.weight", nn.Normal(.02), cfg.VocabSize, cfg.Width)
	m.set.Enter(nn.Head)
	m.lnFinal = nn.NewLayerNorm(&m.set, "ln_final", cfg.Width).WithEps(cfg.NormEps)
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
	x, spans := m.stem(g, ids, batch)
	if m.cfg.PoolType == "mean" {
		x = m.lnFinal.Apply(g, m.blocks.Apply(g, x))
		return m.project(g, graph.MeanTokens(x, m.lengths(g, batch)))
	}
	x = m.blocks.ApplyAt(g, x, m.pooled(g, batch), spans)
	return m.project(g, m.lnFinal.Apply(g, x)) // a layer norm of the pooled token alone
}

// BuildTokens implements tower.TextTokenModel. The tokens are normalised and projected as the embedding is.
func (m *model) BuildTokens(g *nn.Graph, ids *graph.Node, batch int) (embedding, tokens *graph.Node) {
	x, spans := m.stem(g, ids, batch)
	if spans != nil {
		x = m.blocks.ApplySpans(g, x, spans)
	} else {
		x = m.blocks.Apply(g, x)
	}
	x = m.lnFinal.Apply(g, x)
	tokens = m.project(g, x) // [N, D] or [B, T, D]
	if m.cfg.PoolType == "mean" {
		return m.project(g, graph.MeanTokens(x, m.lengths(g, batch))), tokens
	}
	return graph.SelectRows(tokens, m.pooled(g, batch)), tokens
}

// project maps [..., W] to [..., D].
func (m *model) project(g *nn.Graph, x *graph.Node) *graph.Node {
	x = nn.Project(g, x, m.proj)
	if m.projBias != nil {
		x = graph.Add(x, g.P(m.projBias))
	}
	return x
}

// stem adds the embeddings of tokens and of their positions: ids i32 [N] → [N, W] with the spans of the captions, or,
// with the full context, ids i32 [B, T] → [B, T, W] without spans.
func (m *model) stem(g *nn.Graph, ids *graph.Node, batch int) (*graph.Node, *graph.Spans) {
	if m.FullContext() {
		return graph.Add(graph.Gather(g.P(m.tokens), ids), g.P(m.positions)), nil
	}
	places := g.Indices("positions", func(dst []int32, c *nn.Call) { // of each token in its caption
		clear(dst)
		for i, n := range c.Lengths {
			for t := range n {
				dst[c.Starts[i]+t] = t
			}
		}
	}, ids.Dim(0))
	starts := g.Indices("starts", func(dst []int32, c *nn.Call) { copy(dst, c.Starts) }, batch+1)
	x := graph.Add(graph.Gather(g.P(m.tokens), ids), graph.Gather(g.P(m.positions), places))
	return x, &graph.Spans{Starts: starts, Longest: m.cfg.ContextLength}
}

// pooled gives the row of the token that stands for each caption, i32 [batch].
func (m *model) pooled(g *nn.Graph, batch int) *graph.Node {
	return g.Indices("pool", func(dst []int32, c *nn.Call) {
		for i := range dst {
			dst[i] = c.Starts[i] + m.position(i, c)
		}
	}, batch)
}

// lengths gives the tokens of each caption, i32 [batch].
func (m *model) lengths(g *nn.Graph, batch int) *graph.Node {
	return g.Indices("lengths", func(dst []int32, c *nn.Call) { copy(dst, c.Lengths) }, batch)
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
		if m.cfg.Merges == "" {
			return token.NewCLIP(), nil
		}
		return token.ReadMerges(m.cfg.Merges)
	case "hf":
		t, err := token.ReadHF(m.cfg.TokenizerFile)
		if err != nil {
			return nil, err
		}
		if m.cfg.PoolType == "argmax" && !t.EndIsLargest() {
			return nil, fault.New(fault.Invalid, "argmax pools the largest id, which is not the end of a text in %s", m.cfg.TokenizerFile).
				WithPath("with.pool_type").WithHint("pool_type: eos, or first for a tokenizer whose texts begin with [CLS]")
		}
		return t, nil
	case "byte":
		return token.NewBytes(m.cfg.VocabSize)
	}
	if len(captions) == 0 {
		return nil, nil
	}
	return token.Train(captions, m.cfg.VocabSize)
}
