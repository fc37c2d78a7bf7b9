package main

import (
	"testing"

	"tandem/core/cliptest"
)

func TestPromises(t *testing.T) {
	cliptest.TestLoss(t, Plugin.New, cliptest.LossOptions{})
	t.Run("auto bias", func(t *testing.T) {
		cliptest.TestLoss(t, Plugin.New, cliptest.LossOptions{With: `{"auto_bias": true}`})
	})
	t.Run("fixed", func(t *testing.T) {
		cliptest.TestLoss(t, Plugin.New, cliptest.LossOptions{With: `{"learnable": false, "init_bias": -2}`})
	})
}
