package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// Published models are listed by words of their names, and one is enough for a spec's towers.
func TestModelsAreListedAndUsedByName(t *testing.T) {
	dir := t.TempDir()
	var rows []struct {
		Name       string
		Parameters int64
		FLOPs      float64
	}
	if err := json.Unmarshal([]byte(must(t, dir, "models", "siglip", "b-16", "WEBLI", "--json")), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 9 || rows[0].Name != "ViT-B-16-SigLIP" || rows[0].Parameters != 203155968 || rows[0].FLOPs < 40e9 || rows[0].FLOPs > 50e9 {
		t.Errorf("%d models, the first %+v", len(rows), rows[0])
	}
	if r := try(t, dir, "models", "ViT-B-31"); r.code == 0 || !strings.Contains(r.stderr, "no published model") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	write(t, dir, "s.yaml", "model: ViT-S-32\ndata: {train: {dataset: emoji, with: {split: train}}}\ntrain: {max_steps: 1}\n")
	out := must(t, dir, "explain", "s.yaml")
	for _, want := range []string{"width: 384 # model ViT-S-32", "patch_size: 32 # model ViT-S-32", "embed_dim: 384 # model ViT-S-32", "plugin: clip # model ViT-S-32"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}
