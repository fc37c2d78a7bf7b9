package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A run with the sigmoid loss records its bias, and what it was trained with says how probable each label
// is on its own.
func TestSigLIPRun(t *testing.T) {
	dir := t.TempDir()
	spec := strings.Replace(tiny, "loss: {plugin: clip}", "loss: {plugin: siglip, with: {auto_bias: true}}", 1)
	write(t, dir, "tiny.yaml", spec)
	id := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))
	var points []struct{ Value float64 }
	out := must(t, dir, "query", "--json", "select value from v_metrics where metric = 'train/logit_bias' order by step")
	if err := json.Unmarshal([]byte(out), &points); err != nil || len(points) < 10 {
		t.Fatalf("%d points (%v)", len(points), err)
	}
	if first, last := points[0].Value, points[len(points)-1].Value; first < -2.71 || first > -2.70 || last == first {
		t.Errorf("logit bias from %g to %g, want a start at -ln 15 and a move", first, last)
	}
	must(t, dir, "data", "peek", "tiny.yaml", "-n", "1", "-o", "sheet.png")
	var found []struct {
		Guesses []struct{ Probability, Cosine float64 }
	}
	// The same label twice: with a softmax each would have half.
	for _, labels := range []string{"cat,dog", "cat,dog,cat"} {
		before := found
		found = nil
		out := must(t, dir, "zeroshot", id, "sheet.png", "--labels", labels, "--json")
		if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		if before == nil {
			continue
		}
		if a, b := before[0].Guesses[0], found[0].Guesses[0]; a.Probability != b.Probability || a.Probability <= 0 || a.Probability >= 1 {
			t.Errorf("the best label has probability %g among two labels and %g among three", a.Probability, b.Probability)
		}
	}
}
