package main

import (
	"math"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// model holds the Vision Transformer of CLIP (Dosovitskiy et al. 2021; Radford et al. 2021, §2.4): a linear patch
// embedding with a class token and learned positions, ln_pre, pre-norm blocks, ln_post, pooling and a linear
// projection without bias.
type model struct {
	cfg       Config
	embedDim  int
	set       nn.Set
	patches   *nn.PatchEmbedding
	class     *nn.Param // [W]
	positions *nn.Param // [N+1, W]
	lnPre     *nn.LayerNorm
	blocks    *nn.Transformer
	lnPost    *nn.LayerNorm
	proj      *nn.Param // [W, D]
}

// newModel registers the parameters, under the names and with the initialisers of OpenCLIP.
func newModel(cfg Config, embedDim int) *model {
	m := &model{cfg: cfg, embedDim: embedDim}
	w, std := cfg.Width, 1/math.Sqrt(float64(cfg.Width))
	m.class = m.set.Embedding("visual.class_embedding", nn.Normal(std), w)
	m.positions = m.set.Embedding("visual.positional_embedding", nn.Normal(std), m.grid()*m.grid()+1, w)
	m.set.Enter(nn.Head)
	m.proj = m.set.Param("visual.proj", nn.Normal(std), w, embedDim)
	m.set.Enter(nn.Stem)
	m.patches = nn.NewPatchEmbedding(&m.set, "visual.conv1", cfg.PatchSize, w)
	m.lnPre = nn.NewLayerNorm(&m.set, "visual.ln_pre", w)
	m.blocks = nn.NewTransformer(&m.set, "visual.transformer", cfg.Layers, nn.BlockConfig{
		Width: w, Heads: cfg.heads(), Hidden: int(float64(w) * cfg.MLPRatio), Act: nn.ActivationOf(cfg.Act),
		InProj: nn.XavierUniform, OutProj: nn.FanIn, FC: nn.FanIn, Proj: nn.FanIn,
	})
	m.lnPost = nn.NewLayerNorm(&m.set, "visual.ln_post", w)
	return m
}

// grid returns the number of patches along a side.
func (m *model) grid() int { return m.cfg.ImageSize / m.cfg.PatchSize }

// Params implements tower.ImageModel.
func (m *model) Params() *nn.Set { return &m.set }

// Config implements tower.ImageModel.
func (m *model) Config() any { return m.cfg }

// ImageSize implements tower.ImageModel.
func (m *model) ImageSize() int { return m.cfg.ImageSize }

// Build implements tower.ImageModel: u8 [B, S, S, 3] → [B, D].
func (m *model) Build(g *nn.Graph, images *graph.Node) *graph.Node {
	x := m.stem(g, images)
	if m.cfg.PoolType == "avg" {
		return nn.Project(g, graph.MeanTokens(m.patchFeatures(g, x), nil), m.proj)
	}
	tokens := int32(x.Dim(1))
	class := g.Indices("class", func(dst []int32, _ *nn.Call) { // the first token of each picture
		for i := range dst {
			dst[i] = int32(i) * tokens
		}
	}, images.Dim(0))
	x = m.blocks.ApplyAt(g, x, class, nil)
	return nn.Project(g, m.lnPost.Apply(g, x), m.proj)
}

// TokenCount implements tower.ImageTokenModel: a token for each patch.
func (m *model) TokenCount() int { return m.grid() * m.grid() }

// BuildTokens implements tower.ImageTokenModel. The tokens are the patches that patch dropout leaves, row by row of
// the picture, normalised and projected as the embedding is; the class token is none of them.
func (m *model) BuildTokens(g *nn.Graph, images *graph.Node) (embedding, tokens *graph.Node) {
	x := m.stem(g, images)
	if m.cfg.PoolType == "avg" {
		x = m.patchFeatures(g, x)
		return nn.Project(g, graph.MeanTokens(x, nil), m.proj), nn.Project(g, x, m.proj)
	}
	x = nn.Project(g, m.lnPost.Apply(g, m.blocks.Apply(g, x)), m.proj) // [B, 1 + K, D]
	embedding = graph.Reshape(graph.SliceTokens(x, 0, 1), x.Dim(0), x.Dim(2))
	return embedding, graph.SliceTokens(x, 1, x.Dim(1)-1)
}

// stem gives what the blocks take: u8 [B, S, S, 3] → [B, 1 + K, W], the class token first.
func (m *model) stem(g *nn.Graph, images *graph.Node) *graph.Node {
	end := g.Segment()
	x := m.patches.Apply(g, graph.Normalize(images, m.cfg.Mean, m.cfg.Std)) // [B, N, W]
	end()
	class := graph.Reshape(g.P(m.class), 1, m.cfg.Width)
	x = graph.Add(graph.ConcatTokens(class, x), g.P(m.positions)) // [B, 1 + N, W]
	return m.lnPre.Apply(g, nn.PatchDropout(g, x, m.cfg.PatchDropout))
}

// patchFeatures runs the blocks on x [B, 1 + K, W] and normalises what they make of the patches, [B, K, W].
func (m *model) patchFeatures(g *nn.Graph, x *graph.Node) *graph.Node {
	x = m.blocks.Apply(g, x)
	return m.lnPost.Apply(g, graph.SliceTokens(x, 1, x.Dim(1)-1))
}
