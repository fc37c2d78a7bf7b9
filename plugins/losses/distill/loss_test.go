package main

import (
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/loss/losstest"
	"tandem/core/fault"
	"tandem/core/plugin/conformance"
)

func TestAgreesWithTheFormula(t *testing.T) { losstest.Trial(t, "testdata/formula.json", define) }

func TestPromises(t *testing.T) {
	conformance.TestLoss(t, Plugin.New, conformance.LossOptions{Capabilities: Plugin.Capabilities, Inputs: Plugin.Inputs})
}

func TestMemoryGrowsWithTheBatch(t *testing.T) {
	losstest.MemoryGrowsWithTheBatch(t, "testdata/formula.json", define)
}

// Weights that need more of the teacher than it has are refused by their name.
func TestWeightsThatDoNotFitTheTeacherAreRefused(t *testing.T) {
	for with, want := range map[string]struct {
		image, text int
		path        string
	}{
		`{}`:                               {4, 5, "with.relations"},
		`{"relations": 0, "features": 1}`:  {5, 5, "with.features"},
		`{"interactive": 1}`:               {5, 5, "with.interactive"},
		`{"clip": 0, "relations": 0}`:      {4, 4, "with.relations"},
		`{"relations": 0, "features": -1}`: {4, 4, "with.features"},
	} {
		c := clip.LossConfig{With: []byte(with), EmbedDim: 4, BatchSize: 3, TeacherImageDim: want.image, TeacherTextDim: want.text}
		_, err := define(c)
		if text := fault.Format(err); fault.KindOf(err) != fault.Invalid || !strings.Contains(text, want.path) {
			t.Errorf("%s: got %s, want fault.Invalid at %s", with, text, want.path)
		}
	}
}
