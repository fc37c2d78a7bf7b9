package main

import (
	"math"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// model holds the Vision Transformer of CLIP (Dosovitskiy et al. 2021; Radford et al. 2021, §2.4): a linear patch
// embedding with a class token and learned positions, ln_pre, pre-norm blocks, ln_post, pooling and a linear
// projection without bias. Switches make it SigLIP's (Zhai et al. 2023), which pools by attention and has neither class
// token nor ln_pre nor projection, or give it registers (Darcet et al. 2024).
type model struct {
	cfg       Config
	embedDim  int
	set       nn.Set
	patches   *nn.PatchEmbedding
	class     *nn.Param // [W], nil without class token
	registers *nn.Param // [R, W], nil for none
	positions *nn.Param // [N+1, W], without class token [N, W]
	lnPre     *nn.LayerNorm
	blocks    *nn.Transformer
	lnPost    *nn.LayerNorm
	pool      *nn.LatentPool // of pool_type map
	proj      *nn.Param      // [W, D], nil without projection
}

// newModel registers the parameters, under the names and with the initialisers of OpenCLIP.
func newModel(cfg Config, embedDim int) *model {
	m := &model{cfg: cfg, embedDim: embedDim}
	w, std := cfg.Width, 1/math.Sqrt(float64(cfg.Width))
	if !cfg.NoClassToken {
		m.class = m.set.Embedding("visual.class_embedding", nn.Normal(std), w)
	}
	if cfg.Registers > 0 {
		m.registers = m.set.Embedding("visual.register_tokens", nn.Normal(std), cfg.Registers, w)
	}
	m.positions = m.set.Embedding("visual.positional_embedding", nn.Normal(std), m.grid()*m.grid()+m.classes(), w)
	if !cfg.NoProj {
		m.set.Enter(nn.Head)
		m.proj = m.set.Param("visual.proj", nn.Normal(std), w, embedDim)
		m.set.Enter(nn.Stem)
	}
	embedding := nn.NewPatchEmbedding
	if cfg.PatchBias {
		embedding = nn.NewBiasedPatchEmbedding
	}
	m.patches = embedding(&m.set, "visual.conv1", cfg.PatchSize, w)
	if !cfg.NoLnPre {
		m.lnPre = nn.NewLayerNorm(&m.set, "visual.ln_pre", w).WithEps(cfg.NormEps)
	}
	block := nn.BlockConfig{
		Width: w, Heads: cfg.heads(), Hidden: int(float64(w) * cfg.MLPRatio), Act: nn.ActivationOf(cfg.Act), Eps: cfg.NormEps,
		InProj: nn.XavierUniform, OutProj: nn.FanIn, FC: nn.FanIn, Proj: nn.FanIn,
	}
	m.blocks = nn.NewTransformer(&m.set, "visual.transformer", cfg.Layers, block)
	m.lnPost = nn.NewLayerNorm(&m.set, "visual.ln_post", w).WithEps(cfg.NormEps)
	if cfg.PoolType == "map" {
		m.pool = nn.NewLatentPool(&m.set, "visual.attn_pool", block)
	}
	return m
}

// grid returns the number of patches along a side.
func (m *model) grid() int { return m.cfg.ImageSize / m.cfg.PatchSize }

// classes returns the number of class tokens: 1 or 0.
func (m *model) classes() int {
	if m.class == nil {
		return 0
	}
	return 1
}

// prefix returns the number of tokens before the patches: the registers, then the class token.
func (m *model) prefix() int { return m.cfg.Registers + m.classes() }

// Params implements tower.ImageModel.
func (m *model) Params() *nn.Set { return &m.set }

// Config implements tower.ImageModel.
func (m *model) Config() any { return m.cfg }

// ImageSize implements tower.ImageModel.
func (m *model) ImageSize() int { return m.cfg.ImageSize }

// Build implements tower.ImageModel: u8 [B, S, S, 3] → [B, D].
func (m *model) Build(g *nn.Graph, images *graph.Node) *graph.Node {
	x := m.stem(g, images)
	if m.cfg.PoolType != "tok" {
		return m.project(g, m.pooled(g, m.patchFeatures(g, x)))
	}
	tokens, at := int32(x.Dim(1)), int32(m.cfg.Registers)
	class := g.Indices("class", func(dst []int32, _ *nn.Call) { // the class token of each picture
		for i := range dst {
			dst[i] = int32(i)*tokens + at
		}
	}, images.Dim(0))
	x = m.blocks.ApplyAt(g, x, class, nil)
	return m.project(g, m.lnPost.Apply(g, x))
}

// TokenCount implements tower.ImageTokenModel: a token for each patch.
func (m *model) TokenCount() int { return m.grid() * m.grid() }

// BuildTokens implements tower.ImageTokenModel. The tokens are the patches that patch dropout leaves, row by row of
// the picture, normalised and projected as the embedding is; registers and the class token are none of them.
func (m *model) BuildTokens(g *nn.Graph, images *graph.Node) (embedding, tokens *graph.Node) {
	x := m.stem(g, images)
	if m.cfg.PoolType != "tok" {
		x = m.patchFeatures(g, x)
		return m.project(g, m.pooled(g, x)), m.project(g, x)
	}
	x = m.project(g, m.lnPost.Apply(g, m.blocks.Apply(g, x))) // [B, P + K, D]
	embedding = graph.Reshape(graph.SliceTokens(x, m.cfg.Registers, 1), x.Dim(0), x.Dim(2))
	return embedding, m.afterPrefix(x)
}

// stem gives what the blocks take: u8 [B, S, S, 3] → [B, P + K, W], registers and class token first.
func (m *model) stem(g *nn.Graph, images *graph.Node) *graph.Node {
	end := g.Segment()
	x := m.patches.Apply(g, graph.Normalize(images, m.cfg.Mean, m.cfg.Std)) // [B, N, W]
	end()
	if m.class != nil {
		x = graph.ConcatTokens(graph.Reshape(g.P(m.class), 1, m.cfg.Width), x)
	}
	x = nn.PatchDropout(g, graph.Add(x, g.P(m.positions)), m.classes(), m.cfg.PatchDropout)
	if m.registers != nil {
		x = graph.ConcatTokens(g.P(m.registers), x)
	}
	if m.lnPre != nil {
		x = m.lnPre.Apply(g, x)
	}
	return x
}

// patchFeatures runs the blocks on x [B, P + K, W] and normalises what they make of the patches, [B, K, W].
func (m *model) patchFeatures(g *nn.Graph, x *graph.Node) *graph.Node {
	return m.lnPost.Apply(g, m.afterPrefix(m.blocks.Apply(g, x)))
}

// afterPrefix takes the patches of [B, P + K, …].
func (m *model) afterPrefix(x *graph.Node) *graph.Node {
	if m.prefix() == 0 {
		return x
	}
	return graph.SliceTokens(x, m.prefix(), x.Dim(1)-m.prefix())
}

// pooled makes one vector of those of the patches: [B, K, W] → [B, W].
func (m *model) pooled(g *nn.Graph, x *graph.Node) *graph.Node {
	if m.pool != nil {
		return m.pool.Apply(g, x)
	}
	return graph.MeanTokens(x, nil)
}

// project maps [..., W] to [..., D].
func (m *model) project(g *nn.Graph, x *graph.Node) *graph.Node {
	if m.proj == nil {
		return x
	}
	return nn.Project(g, x, m.proj)
}
