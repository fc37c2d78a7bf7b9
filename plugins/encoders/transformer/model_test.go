package main

import (
	"testing"

	"tandem/core/engine/nn"
)

// The text towers of the published models, by their embed_dim: together with the image towers'
// counts and the logit scale they make 151,277,313 (ViT-B/32), 149,620,737 (ViT-B/16) and 102,007,137
// (RN50) parameters.
func TestPublishedParameterCounts(t *testing.T) {
	for embedDim, want := range map[int]int64{512: 63_428_096, 1024: 63_690_240} {
		if got := newModel(Defaults, embedDim).set.Count(); got != want {
			t.Errorf("embed_dim %d: %d parameters, want %d", embedDim, got, want)
		}
	}
}

// Standard deviations of OpenCLIP's TextTransformer.init_parameters at width 512 and 12 layers.
func TestInitialisers(t *testing.T) {
	want := map[string]float64{
		"token_embedding.weight":                        .02,
		"positional_embedding":                          .01,
		"text_projection":                               .0441942,
		"transformer.resblocks.0.attn.in_proj_weight":   .0441942,
		"transformer.resblocks.0.attn.in_proj_bias":     0,
		"transformer.resblocks.11.attn.out_proj.weight": .00902110,
		"transformer.resblocks.0.attn.out_proj.bias":    0,
		"transformer.resblocks.0.mlp.c_fc.weight":       .03125,
		"transformer.resblocks.0.mlp.c_proj.weight":     .00902110,
		"ln_final.bias":                                 0,
	}
	checkStds(t, &newModel(Defaults, 512).set, want)
}

func checkStds(t *testing.T, set *nn.Set, want map[string]float64) {
	t.Helper()
	for _, p := range set.Params() {
		std, ok := want[p.Name]
		if !ok {
			continue
		}
		delete(want, p.Name)
		if got := p.Init.Std(p.Shape); got < std*(1-1e-5) || got > std*(1+1e-5) {
			t.Errorf("%s starts with a standard deviation of %g, want %g", p.Name, got, std)
		}
	}
	for name := range want {
		t.Errorf("no parameter %s", name)
	}
}
