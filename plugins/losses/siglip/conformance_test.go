package main

import (
	"testing"

	"tandem/core/plugin/conformance"
)

func TestPromises(t *testing.T) {
	conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities})
	t.Run("auto bias", func(t *testing.T) {
		conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities, With: `{"auto_bias": true}`})
	})
	t.Run("fixed", func(t *testing.T) {
		conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities, With: `{"learnable": false, "init_bias": -2}`})
	})
}
