package main

import (
	"testing"

	"tandem/core/cliptest"
)

func TestPromises(t *testing.T) {
	cliptest.TestLoss(t, Plugin.New, cliptest.LossOptions{})
}
