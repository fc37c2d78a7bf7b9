// Package main serves myplugin, a text encoder: the mean of token embeddings through a small perceptron.
package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/tower"
	"tandem/core/media/token"
	"tandem/core/plugin/sdk"
)

func main() { sdk.ServeEncoder(Plugin) }

// Config holds the options of a spec's with block.
type Config struct {
	ContextLength int `with:"context_length" min:"2" help:"tokens of a caption, start and end included; longer ones are cut"`
	VocabSize     int `with:"vocab_size" min:"514" help:"tokens that the tokenizer may learn from the training captions"`
	Width         int `with:"width" min:"1" help:"channels of a token"`
}

var defaults = Config{ContextLength: 16, VocabSize: 1024, Width: 64}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "myplugin", Version: "0.1.0", Modality: clip.Text, Summary: "the mean of token embeddings through a perceptron",
	// The runner sends the training captions, from which the tokenizer learns. tower has the rest.
	Capabilities: []string{clip.CapVocabulary, clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets},
	Config:       defaults,
	New:          func() clip.Encoder { return tower.Text(build) },
}

type model struct {
	cfg    Config
	set    nn.Set
	tokens *nn.Param // [vocabulary, width]
	hidden *nn.Linear
	proj   *nn.Param // [width, embed_dim]
}

// build registers the parameters of a network.
func build(c clip.EncoderConfig) (tower.TextModel, error) {
	m := &model{cfg: defaults}
	if err := sdk.Decode(c.With, &m.cfg); err != nil {
		return nil, err
	}
	w := m.cfg.Width
	m.tokens = m.set.Param("token_embedding.weight", nn.Normal(0.05), m.cfg.VocabSize, w)
	m.hidden = nn.NewLinear(&m.set, "fc", w, w, nn.FanIn, nn.Zeros)
	m.proj = m.set.Param("proj", nn.Normal(0.05), w, c.EmbedDim)
	return m, nil
}

func (m *model) Params() *nn.Set    { return &m.set }
func (m *model) Config() any        { return m.cfg }
func (m *model) ContextLength() int { return m.cfg.ContextLength }
func (m *model) VocabSize() int     { return m.cfg.VocabSize }

// FullContext says that Build gets captions padded to the context: ids [B, T].
func (m *model) FullContext() bool { return true }

// Tokenizer learns byte pairs from the captions. Without captions a checkpoint brings the tokenizer.
func (m *model) Tokenizer(captions []string) (token.Tokenizer, error) {
	if len(captions) == 0 {
		return nil, nil
	}
	return token.Train(captions, m.cfg.VocabSize)
}

// Build adds the network to a graph: ids i32 [B, T] → [B, D]. The engine differentiates it.
func (m *model) Build(g *nn.Graph, ids *graph.Node, batch int) *graph.Node {
	lengths := g.Indices("lengths", func(dst []int32, c *nn.Call) { copy(dst, c.Lengths) }, batch)
	x := graph.MeanTokens(graph.Gather(g.P(m.tokens), ids), lengths) // [B, width], without padding
	return nn.Project(g, m.hidden.Apply(g, x, nn.GELU), m.proj)
}
