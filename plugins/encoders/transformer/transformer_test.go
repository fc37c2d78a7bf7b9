package main

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/tower"
	"tandem/core/tower/towertest"
)

func text(options ...tower.Option) clip.Encoder { return tower.Text(build, options...) }

const small = `"context_length": 32, "vocab_size": 600, "width": 16, "heads": 2, "layers": 2`

func TestKeepsThePromisesOfATower(t *testing.T) {
	towertest.Case{
		New:  text,
		With: `{` + small + `}`, Other: `{` + small + `, "causal": false}`,
	}.Check(t)
}

// Every switch has its own path through the graph; each has the right gradient.
func TestSwitches(t *testing.T) {
	for name, with := range map[string]string{
		"end of text":   `"pool_type": "eos", "tokenizer": "byte"`,
		"first":         `"pool_type": "first", "causal": false`,
		"last":          `"pool_type": "last"`,
		"mean":          `"pool_type": "mean"`,
		"mean, all see": `"pool_type": "mean", "causal": false`,
		"quick gelu":    `"act": "quick_gelu", "mlp_ratio": 2`,
	} {
		t.Run(name, towertest.Case{New: text, With: `{` + small + `, ` + with + `}`}.Gradient)
	}
}
