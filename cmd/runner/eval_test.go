package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A new suite over an old study ends in its table; what is recorded is not computed again; averaged weights give the same alone and
// beside the live ones.
func TestASuiteOverAnOldStudy(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny+"ablate: {design: grid, factors: {lr: {base: {}, high: {train.lr: 0.01}}}, baseline: {lr: base}, seeds: [0]}\n")
	write(t, dir, "suite.yaml", "name: late\neval:\n"+
		"  - {name: groups, dataset: emoji, with: {split: test}, max_samples: 40, zero_shot: {classes: group}}\n"+
		"  - {name: found, dataset: emoji, with: {split: test}, max_samples: 40, retrieval: true}\n")
	must(t, dir, "run", "tiny.yaml", "-q", "--set", "train.max_steps=4", "--set", "train.ema=0.5")
	type row struct {
		Run, Evaluation string
		Step            int
		Known           bool
		Metrics         map[string]float64
	}
	evaluate := func(args ...string) (rows []row) {
		t.Helper()
		out := must(t, dir, append([]string{"eval", "tiny", "--suite", "suite.yaml", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return rows
	}
	alone := evaluate("--weights", "ema")
	both := evaluate()
	again := evaluate("--again", "--clip-benchmark", "bench")
	known := 0
	for _, r := range both {
		if r.Known {
			known++
		}
	}
	if len(alone) != 4 || len(both) != 8 || known != 4 || len(again) != 8 || again[0].Known {
		t.Fatalf("%d, %d (%d known) and %d evaluations", len(alone), len(both), known, len(again))
	}
	for _, r := range alone {
		i := slices.IndexFunc(again, func(x row) bool { return x.Run == r.Run && x.Evaluation == r.Evaluation })
		for name, v := range r.Metrics {
			if !strings.Contains(name, "@ema/") || again[i].Metrics[name] != v {
				t.Errorf("%s is %v alone, %v beside the live ones", name, v, again[i].Metrics[name])
			}
		}
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "bench")); len(files) != 8 {
		t.Errorf("%d files of CLIP_benchmark", len(files))
	}
	for _, args := range [][]string{{"ablation", "tiny", "--metric", "eval/groups/top1"}, {"leaderboard", "tiny", "--metric", "eval/found/text_to_image_R@1"}} {
		if out := must(t, dir, args...); !strings.Contains(out, "lr=high") {
			t.Errorf("%v: %s", args, out)
		}
	}
	must(t, dir, "report", "tiny", "--metric", "eval/groups/top1")
	if out := must(t, dir, "show", alone[0].Run); !strings.Contains(out, "evaluated later") || !strings.Contains(out, "late") {
		t.Errorf("%s", out)
	}
}
