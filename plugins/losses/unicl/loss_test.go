package main

import (
	"testing"

	"tandem/core/engine/loss/losstest"
	"tandem/core/plugin/conformance"
)

func TestAgreesWithTheFormula(t *testing.T) { losstest.Trial(t, "testdata/formula.json", define) }

func TestPromises(t *testing.T) {
	conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities, Inputs: Plugin.Inputs})
}
