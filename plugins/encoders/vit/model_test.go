package main

import (
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// The image towers of the published models.
func TestPublishedParameterCounts(t *testing.T) {
	b16 := Defaults
	b16.PatchSize = 16
	l14 := Defaults
	l14.PatchSize, l14.Width, l14.Layers = 14, 1024, 24
	for _, c := range []struct {
		name     string
		cfg      Config
		embedDim int
		want     int64
	}{{"ViT-B/32", Defaults, 512, 87_849_216}, {"ViT-B/16", b16, 512, 86_192_640}, {"ViT-L/14", l14, 768, 303_966_208}} {
		if got := newModel(c.cfg, c.embedDim).set.Count(); got != c.want {
			t.Errorf("%s: %d parameters, want %d", c.name, got, c.want)
		}
	}
}

// Standard deviations of OpenCLIP's VisionTransformer at width 768: width^-½, xavier-uniform of
// [3W, W], and PyTorch's 1/√(3·fan_in) elsewhere.
func TestInitialisers(t *testing.T) {
	want := map[string]float64{
		"visual.class_embedding":                              .0360844,
		"visual.positional_embedding":                         .0360844,
		"visual.proj":                                         .0360844,
		"visual.conv1.weight":                                 .0104167,
		"visual.transformer.resblocks.0.attn.in_proj_weight":  .0255155,
		"visual.transformer.resblocks.0.attn.in_proj_bias":    0,
		"visual.transformer.resblocks.0.attn.out_proj.weight": .0208333,
		"visual.transformer.resblocks.0.attn.out_proj.bias":   0,
		"visual.transformer.resblocks.0.mlp.c_fc.weight":      .0208333,
		"visual.transformer.resblocks.0.mlp.c_fc.bias":        .0208333,
		"visual.transformer.resblocks.0.mlp.c_proj.weight":    .0104167,
	}
	for _, p := range newModel(Defaults, 512).set.Params() {
		std, ok := want[p.Name]
		if !ok {
			continue
		}
		delete(want, p.Name)
		if got := p.Init.Std(p.Shape); got < std*(1-1e-4) || got > std*(1+1e-4) {
			t.Errorf("%s starts with a standard deviation of %g, want %g", p.Name, got, std)
		}
	}
	for name := range want {
		t.Errorf("no parameter %s", name)
	}
}

// The published figures of ViT-B/32 and B/16 are 4.41 and 17.56 G multiply-adds. Of the last block only
// keys and values are computed for every token, the rest for the class token.
func TestFLOPs(t *testing.T) {
	for patch, want := range map[int]float64{32: 4.41e9, 16: 17.56e9} {
		cfg := Defaults
		cfg.PatchSize = patch
		m := newModel(cfg, 512)
		g := nn.NewGraph(m.Params(), graph.Options{})
		m.Build(g, g.Input("images", device.U8, 1, 224, 224, 3))
		w, others := float64(cfg.Width), float64(m.grid()*m.grid())
		want -= 9*others*w*w + 2*others*(1+others)*w // output projection and MLP, attention
		if got := g.FLOPs / 2; g.Err() != nil || got < .998*want || got > 1.002*want {
			t.Errorf("patch size %d: %.4g multiply-adds, want %.4g (%v)", patch, got, want, g.Err())
		}
	}
}
