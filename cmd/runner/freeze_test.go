package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A run with frozen parameters says how many it trains, and resumes to the same bits.
func TestFrozenTowers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	args := []string{"run", "tiny.yaml", "-q", "--set", "image.freeze=all", "--set", "text.freeze.blocks=-1"}
	id := strings.TrimSpace(must(t, dir, args...))
	out := must(t, dir, "query", "--json", "select key, value from v_facts where key like 'parameters.%' and run_id = '"+id+"'")
	var rows []struct {
		Key   string
		Value float64
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f := map[string]float64{}
	for _, r := range rows {
		f[r.Key] = r.Value
	}
	if f["parameters.image.trained"] != 0 || f["parameters.image"] == 0 || f["parameters.text.trained"] == 0 ||
		f["parameters.text.trained"] >= f["parameters.text"] || f["parameters.trained"] != f["parameters.text.trained"]+1 {
		t.Errorf("facts %v", f)
	}
	killAtCheckpoint(t, dir, command(t, dir, args...))
	again := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
	if again == id || curves(t, dir, id) != curves(t, dir, again) {
		t.Errorf("the metrics of %s, resumed, differ from those of %s", again, id)
	}
}

// What only the network can tell of a freeze is reported at its place in the spec.
func TestABadFreezeIsPlaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "bad.yaml", strings.Replace(tiny, "head_width: 16}", "head_width: 16}, freeze: {blocks: 9}", 1))
	r := try(t, dir, "run", "bad.yaml")
	if want := "bad.yaml:1:117: encoders/vit: image.freeze.blocks: 9, but the number of blocks is 1"; r.code == 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("exit code %d, want %q in\n%s", r.code, want, r.stderr)
	}
}
