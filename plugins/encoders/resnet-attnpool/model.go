package main

import (
	"fmt"

	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// model holds CLIP's modified ResNet (He et al. 2016; Radford et al. 2021, §2.4) with each of its three changes as a
// switch: the stem of three 3×3 convolutions, the average pools in place of strides, and the attention pool.
type model struct {
	cfg      Config
	embedDim int
	set      nn.Set
	convs    []*nn.Conv2D // stem
	norms    []*nn.BatchNorm
	stages   []*nn.Stage
	attn     *nn.AttentionPool // nil: average
	proj     *nn.Linear        // of average pooling
}

// newModel registers the parameters, under the names and with the initialisers of OpenCLIP.
func newModel(cfg Config, embedDim int) *model {
	m := &model{cfg: cfg, embedDim: embedDim}
	w := cfg.Width
	if cfg.Stem == "plain" {
		m.convs = []*nn.Conv2D{nn.NewConv2D(&m.set, "visual.conv1", 3, w, 7, 2, 3)}
		m.norms = []*nn.BatchNorm{nn.NewBatchNorm(&m.set, "visual.bn1", w, nn.Ones)}
	} else {
		m.stem("1", 3, w/2, 2)
		m.stem("2", w/2, w/2, 1)
		m.stem("3", w/2, w, 1)
	}
	in := w
	for i, blocks := range cfg.Layers {
		m.set.Enter(1 + i)
		width, stride := w<<i, 2
		if i == 0 {
			stride = 1
		}
		name := "visual.layer" + string(rune('1'+i))
		m.stages = append(m.stages, nn.NewStage(&m.set, name, blocks, in, width, stride, cfg.Downsample == "avgpool"))
		in = 4 * width
	}
	m.set.Enter(nn.Head)
	if cfg.Pool == "attention" {
		m.attn = nn.NewAttentionPool(&m.set, "visual.attnpool", cfg.ImageSize/32, in, cfg.heads(), embedDim)
	} else {
		m.proj = nn.NewLinear(&m.set, "visual.proj", in, embedDim, nn.FanIn, nn.BiasOf(in))
	}
	return m
}

// stem registers one of the three convolutions of CLIP's stem.
func (m *model) stem(n string, in, out, stride int) {
	m.convs = append(m.convs, nn.NewConv2D(&m.set, "visual.conv"+n, in, out, 3, stride, 1))
	m.norms = append(m.norms, nn.NewBatchNorm(&m.set, "visual.bn"+n, out, nn.Ones))
}

// Params implements tower.ImageModel.
func (m *model) Params() *nn.Set { return &m.set }

// Config implements tower.ImageModel.
func (m *model) Config() any { return m.cfg }

// ImageSize implements tower.ImageModel.
func (m *model) ImageSize() int { return m.cfg.ImageSize }

// Build implements tower.ImageModel: u8 [B, S, S, 3] → [B, D].
func (m *model) Build(g *nn.Graph, images *graph.Node) *graph.Node {
	end := g.Segment()
	x := graph.Normalize(images, m.cfg.Mean, m.cfg.Std)
	for i, c := range m.convs {
		x = m.norms[i].Apply(g, c.Apply(g, x), nn.ReLU)
	}
	if m.cfg.Stem == "plain" {
		x = graph.MaxPool(x, 3, 2, 1)
	} else {
		x = graph.AvgPool(x, 2, 2)
	}
	end()
	for i, s := range m.stages {
		end := g.Scope(fmt.Sprintf("layer%d", i+1))
		x = s.Apply(g, x)
		end()
	}
	if m.attn != nil {
		return m.attn.Apply(g, x)
	}
	b, positions, w := x.Dim(0), x.Dim(1)*x.Dim(2), x.Dim(3)
	return m.proj.Apply(g, graph.MeanTokens(graph.Reshape(x, b, positions, w), nil), nn.Identity)
}
