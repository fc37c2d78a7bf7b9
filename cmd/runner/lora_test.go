package main_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/engine/weights"
)

// tuned are the settings of a run that adapts its towers, one with dropout, and trains a projection after two steps.
var tuned = []string{"--set", "image.lora={rank: 2, alpha: 8, train: [visual.proj]}", "--set", "text.lora={rank: 3, targets: ['*.mlp.*', text_projection], dropout: 0.2}",
	"--set", "train.groups=[{params: [visual.proj], start: 2, tower: image}]", "--set", "train.ema=0.8"}

// A run with adapters starts from another's checkpoint, resumes to the same bits and is exported as a model without them
// that embeds as it does.
func TestAdapters(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	base := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))
	found, err := filepath.Glob(filepath.Join(dir, "results/runs", base, "checkpoints/step-*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no checkpoint of %s: %v", base, err)
	}
	args := append([]string{"run", "tiny.yaml", "-q", "--set", "init.weights=" + found[len(found)-1]}, tuned...)
	id := strings.TrimSpace(must(t, dir, args...))
	killAtCheckpoint(t, dir, command(t, dir, args...))
	again := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
	if again == id || curves(t, dir, id) != curves(t, dir, again) {
		t.Errorf("the metrics of %s, resumed, differ from those of %s", again, id)
	}
	// in_proj [48 16] and out_proj [16 16] of rank 2, and the projection
	if out := must(t, dir, "query", "select value from v_facts where key = 'parameters.image.trained' and run_id = '"+id+"'"); !strings.Contains(out, fmt.Sprint(2*(48+16)+2*(16+16)+16*16)) {
		t.Errorf("trained parameters: %s", out)
	}

	write(t, dir, "captions.txt", "a cat\na dog\n")
	for name, flags := range map[string][]string{"last": nil, "ema": {"--ema"}} {
		model, own, published := filepath.Join(dir, name+".safetensors"), filepath.Join(dir, "own-"+name), filepath.Join(dir, "published-"+name)
		must(t, dir, append([]string{"export", id, "-o", model}, flags...)...)
		for tensor := range tensors(t, model) {
			if weights.IsAdapter(tensor) {
				t.Errorf("%s is exported", tensor)
			}
		}
		must(t, dir, append([]string{"embed", "--texts", "captions.txt", "--out", own, "--run", id}, flags...)...)
		must(t, dir, "embed", "--texts", "captions.txt", "--out", published, "--weights", model, "--spec", "tiny.yaml")
		a, b := tensors(t, own)["text_features"], tensors(t, published)["text_features"]
		x, _ := a.F32()
		y, _ := b.F32()
		if len(x) == 0 || len(x) != len(y) {
			t.Fatalf("%d features and %d", len(x), len(y))
		}
		for i := range x {
			if d := math.Abs(float64(x[i] - y[i])); d > 1e-6 {
				t.Fatalf("%s: feature %d is apart by %g from that of the exported model", name, i, d)
			}
		}
	}
}

// What only the network can tell of adapters is reported at its place in the spec.
func TestBadAdaptersArePlaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bad.yaml", strings.Replace(tiny, "head_width: 16}", "head_width: 16}, lora: {rank: 2, targets: [visual.ln_pre]}", 1))
	r := try(t, dir, "run", "bad.yaml")
	if want := `encoders/vit: image.lora.targets: no layer's matrix matches "visual.ln_pre"`; r.code == 0 || !strings.Contains(r.stderr, "bad.yaml:1:") || !strings.Contains(r.stderr, want) {
		t.Errorf("exit code %d, want %q in\n%s", r.code, want, r.stderr)
	}
}
