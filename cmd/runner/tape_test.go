package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallsAreRecordedAndReplayed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	must(t, dir, "plugin", "record", "tiny.yaml", "--plugin", "text", "-o", "text.tape", "--steps", "2", "--no-progress")
	if _, err := os.Stat(filepath.Join(dir, "results")); !os.IsNotExist(err) {
		t.Errorf("recording left results: %v", err)
	}
	if out := must(t, dir, "plugin", "replay", "text.tape"); !strings.Contains(out, "calls are answered as on the tape") {
		t.Errorf("replay says %s", out)
	}
	// A plugin that was named by its path is found there again.
	_, other := otherClip(t, dir)
	must(t, dir, "plugin", "record", "tiny.yaml", "--plugin", "loss", "-o", "loss.tape", "--steps", "1", "--no-progress", "--set", "loss.plugin="+other)
	if out := must(t, dir, "plugin", "replay", "loss.tape"); !strings.Contains(out, other) {
		t.Errorf("replay does not say %s: %s", other, out)
	}
	// The same calls to a text tower of another form part at once, with the tape's exit code.
	if r := try(t, dir, "plugin", "replay", "text.tape", "--plugin", "vit"); r.code != 1 || !strings.Contains(r.stdout, "first difference: call 1, Configure 1") {
		t.Errorf("replay to another encoder: %d, %s%s", r.code, r.stdout, r.stderr)
	}
	for _, bad := range [][]string{{"record", "tiny.yaml"}, {"record", "tiny.yaml", "--plugin", "loss"}, {"replay", "tiny.yaml"}, {"replay", "text.tape", "--tolerance", "NaN"}} {
		if r := try(t, dir, append([]string{"plugin"}, bad...)...); r.code == 0 || r.stderr == "" {
			t.Errorf("%v: %d, %s", bad, r.code, r.stderr)
		}
	}
}

func TestTwoVersionsOfAPluginAreCompared(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	_, other := otherClip(t, dir)
	args := []string{"plugin", "bisect", "clip", other, "tiny.yaml", "--seeds", "1", "--metric", "train/loss", "--set", "train.max_steps=2", "--set", "eval=[]", "--no-progress"}
	if out := must(t, dir, args...); !strings.Contains(out, "equal bits") || !strings.Contains(out, "not enough seeds") {
		t.Errorf("bisect says %s", out)
	}
	if out := must(t, dir, append(args, "--json")...); !strings.Contains(out, `"first_difference": null`) || !strings.Contains(out, `"points_compared": 2`) {
		t.Errorf("bisect --json says %s", out)
	}
}
