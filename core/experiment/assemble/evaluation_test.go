package assemble_test

import (
	"slices"
	"testing"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/spec"
	"tandem/core/media/vision/corrupt"
)

func TestASpecKnowsEveryCorruption(t *testing.T) {
	if !slices.Equal(spec.Corruptions, corrupt.Kinds()) {
		t.Errorf("a spec knows %q, and there are %q", spec.Corruptions, corrupt.Kinds())
	}
}

// Evaluations that ask for the same data share one plugin, and what it gives; each has its own class names. What differs is another's.
func TestEvaluationsShareTheirData(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l, "eval=[{name: a, dataset: dots, with: {samples: 8}, zero_shot: {classes: parity}}, "+
		"{name: b, dataset: dots, with: {samples: 8}, zero_shot: {classes: parity, class_names: [x, y]}, train: {with: {samples: 6}, max_samples: 5}}, "+
		"{name: c, dataset: dots, with: {samples: 6}, retrieval: true, max_samples: 2}]")
	m, err := assemble.OpenEvaluator(t.Context(), l.Catalog, s, nil)
	labtest.Must(t, err)
	defer m.Close()
	a, b, c := m.Evals[0], m.Evals[1], m.Evals[2]
	if a.Data != b.Data || a.Key != b.Key || a.Key == "" || a.Data == c.Data || a.Key == c.Key {
		t.Errorf("a %q, b %q, c %q", a.Key, b.Key, c.Key)
	}
	if b.Train == nil || b.Train.Data != c.Data || b.Train.Key != c.Key || b.Train.Info.Len != 6 || b.Train.MaxSamples != 5 || c.MaxSamples != 2 {
		t.Errorf("what b learns from: %+v", b.Train)
	}
	if x, y := a.Info.Targets[0].Classes[0], b.Info.Targets[0].Classes[0]; x == y || y != "x" {
		t.Errorf("classes %q and %q", x, y)
	}
	if plan := m.EvalPlan(); plan.Left() != 8+2 { // nothing learns, so that nobody reads what b could learn from
		t.Errorf("%d samples are to be embedded", plan.Left())
	}
}
