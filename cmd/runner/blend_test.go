package main_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// A curve between two models ends in their own figures, to the bit, and has in between those of the file that it writes. Adapters and
// averages are blended as they are exported.
func TestBlend(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	trained := func(set ...string) string {
		args := []string{"run", "tiny.yaml", "-q"}
		for _, s := range append([]string{"train.max_steps=6"}, set...) {
			args = append(args, "--set", s)
		}
		return strings.TrimSpace(must(t, dir, args...))
	}
	base := trained()
	must(t, dir, "export", base, "-o", "base.safetensors")
	from := "init.weights=" + filepath.Join(dir, "base.safetensors")
	full := trained(from, "train.ema=0.5", "train.lr=0.01", "text.with.tokenizer=bpe")
	adapted := trained(from, "train.lr=0.01", "image.lora={rank: 2}", "text.lora={rank: 2}")

	type figures map[string]float64
	var curve struct {
		Points []struct {
			Alpha   float64
			Run     string
			Known   bool
			Metrics figures
		}
		Best []struct {
			Metric      string
			Value, A, B float64
		}
	}
	blend := func(args ...string) {
		t.Helper()
		curve.Points = nil
		out := must(t, dir, append([]string{"blend", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &curve); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	evaluated := func(run string) figures {
		t.Helper()
		var rows []struct{ Metrics figures }
		out := must(t, dir, "eval", run, "--weights", "live", "--again", "--json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		return rows[0].Metrics
	}
	blend(base, full, "--alpha", "0:1:0.25", "-o", "mixed.safetensors", "--at", "0.25")
	imported := strings.TrimSpace(must(t, dir, "import", "mixed.safetensors", "--as", "tiny.yaml"))
	if len(curve.Points) != 5 || curve.Points[1].Alpha != .25 {
		t.Fatalf("%+v", curve)
	}
	for i, run := range map[int]string{0: base, 1: imported, 4: full} {
		if want, got := evaluated(run), curve.Points[i].Metrics; len(want) == 0 || !maps.Equal(want, got) {
			t.Errorf("alpha %v: %v, alone %v", curve.Points[i].Alpha, got, want)
		}
	}
	if maps.Equal(curve.Points[0].Metrics, curve.Points[4].Metrics) {
		t.Error("the ends are equal")
	}
	for _, b := range curve.Best {
		if b.A != curve.Points[0].Metrics[b.Metric] || b.B != curve.Points[4].Metrics[b.Metric] {
			t.Errorf("%+v", b)
		}
	}
	if out := must(t, dir, "ablation", "tiny-blend", "--metric", "eval/emoji/image_to_text_mean_rank"); !strings.Contains(out, "alpha=0.25") {
		t.Error(out)
	}

	for name, args := range map[string][]string{"adapters": {adapted}, "averages": {full, "--weights", "ema"}} {
		ours, theirs := name+".safetensors", name+"-exported.safetensors"
		must(t, dir, append([]string{"blend", "base.safetensors", "-o", ours, "--at", "1"}, args...)...)
		export := []string{"export", args[0], "-o", theirs}
		if len(args) > 1 {
			export = append(export, "--ema")
		}
		must(t, dir, export...)
		want := tensors(t, filepath.Join(dir, theirs))
		got := tensors(t, filepath.Join(dir, ours))
		if len(got) != len(want) {
			t.Errorf("%s: %d tensors, exported %d", name, len(got), len(want))
		}
		for tensor, x := range want {
			if string(got[tensor].Data) != string(x.Data) {
				t.Errorf("%s: %s is not as exported", name, tensor)
			}
		}
	}

	blend(base, full, full, "--uniform")
	before := curve.Points[0]
	blend(base, full, full, "--uniform")
	if before.Known || !curve.Points[0].Known || !maps.Equal(before.Metrics, curve.Points[0].Metrics) {
		t.Errorf("%+v, first %+v", curve.Points[0], before)
	}
	if out := must(t, dir, "blend", base, full, "--alpha", "0,0.5,1"); !strings.Contains(out, "best alpha") || !strings.Contains(out, "chosen on the very evaluation") {
		t.Error(out)
	}
}

func TestBlendsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"have no line between them": {"a", "b", "c"},
		"is no number from 0 to 1":  {"a", "b", "--alpha", "0:2:0.5"},
		"want FROM:TO:STEP":         {"a", "b", "--alpha", "0:1"},
		"more than 1001":            {"a", "b", "--alpha", "0:1:0.0001"},
		"go together":               {"a", "b", "-o", "x.safetensors"},
		"is not between the models": {"a", "b", "-o", "x.safetensors", "--at", "2"},
		"unknown weights":           {"a", "b", "--weights", "best"},
		"at least 2 arg":            {"a"},
	} {
		if r := try(t, dir, append([]string{"blend"}, args...)...); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, want %q in %s", args, r.code, want, r.stderr)
		}
	}
}
