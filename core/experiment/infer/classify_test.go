package infer

import (
	"math"
	"testing"

	"tandem/core/experiment/assemble"
)

// Probabilities are the softmax of scaled cosines, best first; a large scale does not overflow. Those of
// a loss with a bias are sigmoids.
func TestGuesses(t *testing.T) {
	g := guesses(assemble.Logits{Scale: 10}, []float32{0.1, 0.3, 0.2}, []string{"a", "b", "c"})
	if g[0].Label != "b" || g[1].Label != "c" || g[2].Label != "a" {
		t.Errorf("order %v", g)
	}
	if want := 1 / (1 + math.Exp(-1) + math.Exp(-2)); math.Abs(g[0].Probability-want) > 1e-6 {
		t.Errorf("probability %g, want %g", g[0].Probability, want)
	}
	if g := guesses(assemble.Logits{Scale: 1e4}, []float32{-1, 1}, []string{"a", "b"}); g[0].Probability != 1 || g[1].Probability != 0 {
		t.Errorf("at a large scale: %v", g)
	}
	// With a bias each label is judged on its own.
	bias := -3.0
	g = guesses(assemble.Logits{Scale: 10, Bias: &bias}, []float32{0.1, 0.3, 0.25}, []string{"a", "b", "c"})
	for i, want := range []float64{0, -0.5, -2} { // logits, best first
		if p := 1 / (1 + math.Exp(-want)); math.Abs(g[i].Probability-p) > 1e-6 {
			t.Errorf("%s has probability %g, want %g", g[i].Label, g[i].Probability, p)
		}
	}
}
