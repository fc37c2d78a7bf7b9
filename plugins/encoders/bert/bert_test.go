package main

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/engine/tower/towertest"
	"tandem/core/plugin/conformance"
)

func text(options ...tower.Option) clip.Encoder { return tower.Text(build, options...) }

const small = `"vocab_size": 600, "width": 16, "heads": 2, "layers": 2, "positions": 32`

func TestKeepsThePromisesOfATower(t *testing.T) {
	towertest.Case{
		New:  text,
		With: `{` + small + `}`, Other: `{` + small + `, "pool": "cls"}`,
	}.Check(t)
}

// Every switch has its own path through the graph; each has the right gradient.
func TestSwitches(t *testing.T) {
	for name, with := range map[string]string{
		"cls, mlp":    `"pool": "cls", "proj": "mlp"`,
		"pooler":      `"pool": "pooler", "tokenizer": "byte"`,
		"RoBERTa's":   `"preset": "roberta-base", "eps": 1e-3`,
		"quick gelu":  `"act": "quick_gelu", "hidden": 24`,
		"wide enough": `"width": 6, "proj": "none"`,
	} {
		t.Run(name, towertest.Case{New: text, With: merged(small, with)}.Gradient)
	}
}

func TestKeepsThePromisesOfAnEncoder(t *testing.T) {
	conformance.TestEncoder(t, Plugin.New, conformance.EncoderOptions{Outputs: Plugin.Outputs, Capabilities: Plugin.Capabilities, With: `{` + small + `}`, Compute: towertest.CPU})
}

// merged puts settings after others of the same names.
func merged(settings, more string) string { return `{` + settings + `, ` + more + `}` }

// The parameters of the published models, without pooler and projection.
func TestPublishedParameterCounts(t *testing.T) {
	for preset, want := range map[string]int64{"minilm-l6": 22_565_376, "minilm-l12": 33_212_160, "bert-base": 108_891_648, "bert-large": 334_092_288, "roberta-base": 124_055_040} {
		a := Config{Preset: preset}.ofPreset()
		a.Proj = "none"
		if got := newModel(Config{}, a, a.Width).set.Count(); got != want {
			t.Errorf("%s: %d parameters, want %d", preset, got, want)
		}
	}
}
