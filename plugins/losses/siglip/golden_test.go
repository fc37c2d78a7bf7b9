package main

import (
	"testing"

	"tandem/core/engine/loss/losstest"
)

// Values and gradients are those of open_clip.
func TestAgreesWithOpenCLIP(t *testing.T) {
	losstest.OpenCLIP(t, "testdata/open_clip.json", newLoss, func(scale, bias float64) map[string]any {
		return map[string]any{"init_logit_scale": scale, "init_bias": bias}
	})
}

func TestRowsAddUpToTheBatch(t *testing.T) {
	losstest.Rows(t, newLoss, `{}`, `{"auto_bias": true}`, `{"learnable": false}`)
}
