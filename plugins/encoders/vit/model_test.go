package main

import "testing"

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
