package main

import (
	"testing"

	"tandem/core/engine/loss/losstest"
)

// Values and gradients are those of open_clip.
func TestAgreesWithOpenCLIP(t *testing.T) {
	losstest.OpenCLIP(t, "testdata/open_clip.json", newLoss, func(scale, _ float64) map[string]any {
		return map[string]any{"init_logit_scale": scale}
	})
}

// Further options are those of a formula in PyTorch.
func TestAgreesWithTheFormula(t *testing.T) { losstest.Trial(t, "testdata/formula.json", define) }

func TestMemoryGrowsWithTheBatch(t *testing.T) {
	losstest.MemoryGrowsWithTheBatch(t, "testdata/formula.json", define)
}

func TestRowsAddUpToTheBatch(t *testing.T) {
	losstest.Rows(t, newLoss, `{}`, `{"label_smoothing": 0.2, "direction": "text"}`, `{"hard_negatives": 0.7, "direction": "image"}`, `{"hard_negatives": 0.5}`)
}
