// Package main serves myplugin, an image encoder: a bag of patches through a small perceptron.
package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

func main() { sdk.ServeEncoder(Plugin) }

// Config holds the options of a spec's with block.
type Config struct {
	ImageSize int `with:"image_size" min:"1" help:"side of the pictures in pixels; a multiple of patch_size"`
	PatchSize int `with:"patch_size" min:"1" help:"side of a patch in pixels"`
	Width     int `with:"width" min:"1" help:"channels of a patch"`
}

var defaults = Config{ImageSize: 32, PatchSize: 8, Width: 64}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "myplugin", Version: "0.1.0", Modality: clip.Image, Summary: "a bag of patches through a perceptron",
	Capabilities: []string{clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets}, // tower has them
	Config:       defaults,
	Relations:    []clip.Relation{{Rule: "multiple_of", Field: "image_size", Of: "patch_size"}},
	New:          func() clip.Encoder { return tower.Image(build) },
}

type model struct {
	cfg     Config
	set     nn.Set
	patches *nn.PatchEmbedding
	norm    *nn.LayerNorm
	hidden  *nn.Linear
	proj    *nn.Param // [width, embed_dim]
}

// build registers the parameters of a network.
func build(c clip.EncoderConfig) (tower.ImageModel, error) {
	m := &model{cfg: defaults}
	if err := sdk.Decode(c.With, &m.cfg); err != nil {
		return nil, err
	}
	if m.cfg.ImageSize%m.cfg.PatchSize != 0 {
		return nil, fault.New(fault.Invalid, "%d is no multiple of patch_size %d", m.cfg.ImageSize, m.cfg.PatchSize).WithPath("with.image_size")
	}
	w := m.cfg.Width
	m.patches = nn.NewPatchEmbedding(&m.set, "conv1", m.cfg.PatchSize, w)
	m.norm = nn.NewLayerNorm(&m.set, "ln", w)
	m.hidden = nn.NewLinear(&m.set, "fc", w, w, nn.FanIn, nn.Zeros)
	m.proj = m.set.Param("proj", nn.Normal(0.05), w, c.EmbedDim)
	return m, nil
}

func (m *model) Params() *nn.Set { return &m.set }
func (m *model) Config() any     { return m.cfg }
func (m *model) ImageSize() int  { return m.cfg.ImageSize }

// Build adds the network to a graph: u8 [B, S, S, 3] → [B, D]. The engine differentiates it.
func (m *model) Build(g *nn.Graph, images *graph.Node) *graph.Node {
	x := m.patches.Apply(g, graph.Normalize(images, tower.CLIPMean, tower.CLIPStd)) // [B, patches, width]
	x = m.hidden.Apply(g, m.norm.Apply(g, x), nn.GELU)
	return nn.Project(g, graph.MeanTokens(x, nil), m.proj)
}
