package main

import (
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// The image towers of the published models.
func TestPublishedParameterCounts(t *testing.T) {
	rn101 := Defaults
	rn101.Layers = [4]int{3, 4, 23, 3}
	for _, c := range []struct {
		name     string
		cfg      Config
		embedDim int
		want     int64
	}{{"RN50", Defaults, 1024, 38_316_896}, {"RN101", rn101, 512, 56_259_936}} {
		if got := newModel(c.cfg, c.embedDim).set.Count(); got != c.want {
			t.Errorf("%s: %d parameters, want %d", c.name, got, c.want)
		}
	}
}

// A block starts as its shortcut: bn3.weight is 0. The attention pool starts at (32w)^-½.
func TestInitialisers(t *testing.T) {
	m := newModel(Defaults, 1024)
	blocks := 0
	for _, p := range m.set.Params() {
		switch {
		case strings.Contains(p.Name, "bn3.weight") && strings.Contains(p.Name, "layer"):
			blocks++
			if p.Init != nn.Zeros {
				t.Errorf("%s does not start at 0", p.Name)
			}
		case strings.Contains(p.Name, "attnpool") && !strings.HasSuffix(p.Name, "bias"):
			if got := p.Init.Std(p.Shape); got < .0220970 || got > .0220971 {
				t.Errorf("%s starts with a standard deviation of %g, want 2048^-½", p.Name, got)
			}
		case strings.HasSuffix(p.Name, "bn3.weight") && p.Init != nn.Ones:
			t.Errorf("the stem's %s does not start at 1", p.Name)
		}
	}
	if blocks != 16 {
		t.Errorf("%d blocks", blocks)
	}
}

// Names of a published checkpoint, one of each sort.
func TestPublishedNames(t *testing.T) {
	m := newModel(Defaults, 1024)
	var names []string
	for _, p := range m.set.Params() {
		names = append(names, p.Name)
	}
	for _, s := range m.set.Stats() {
		names = append(names, s.Name)
	}
	for _, want := range []string{
		"visual.conv3.weight", "visual.bn3.running_var", "visual.layer1.0.downsample.0.weight",
		"visual.layer1.0.downsample.1.running_mean", "visual.layer4.2.bn3.bias", "visual.layer3.5.conv2.weight",
		"visual.attnpool.positional_embedding", "visual.attnpool.q_proj.bias", "visual.attnpool.c_proj.weight",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s", want)
		}
	}
}

// Torchvision's plain ResNet-50 has 4.09 G multiply-adds, of which its classifier takes 2 M.
func TestFLOPs(t *testing.T) {
	cfg := Defaults
	cfg.Stem, cfg.Downsample, cfg.Pool = "plain", "stride", "average"
	m := newModel(cfg, 1000)
	g := nn.NewGraph(m.Params(), graph.Options{})
	m.Build(g, g.Input("images", device.U8, 1, 224, 224, 3))
	if got := g.FLOPs / 2; g.Err() != nil || got < 4.08e9 || got > 4.10e9 {
		t.Errorf("%.4g multiply-adds, want 4.09 G (%v)", got, g.Err())
	}
}
