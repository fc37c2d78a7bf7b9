package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/results"
	"tandem/core/results/store"
)

// pooling makes a database of an experiment with a better, a worse and a missing cell, and of another without a run.
func pooling(t *testing.T) (dir string) {
	t.Helper()
	dir, ctx := t.TempDir(), context.Background()
	db, err := store.Open(filepath.Join(dir, "r.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	levels := map[string]float64{"baseline": 0.5, "pool=average": 0.6, "pool=max": 0.42}
	var cells []store.Cell
	for _, v := range []string{"baseline", "pool=average", "pool=max"} {
		for seed := range int64(4) {
			pool := strings.TrimPrefix(strings.Replace(v, "baseline", "attention", 1), "pool=")
			cells = append(cells, store.Cell{Variant: v, Seed: seed, Identity: fmt.Sprint(v, seed), Levels: map[string]string{"pool": pool}})
		}
	}
	check(db.Plan(ctx, store.Experiment{Name: "empty"}, nil))
	check(db.Plan(ctx, store.Experiment{Name: "pooling", Description: "which pool", Baseline: "baseline", Metric: "eval/emoji/top1", Design: "one-at-a-time",
		Factors: []results.Factor{{Name: "pool", Levels: []string{"attention", "average", "max"}}}}, cells))
	for i, c := range cells[:len(cells)-1] {
		run, err := db.Begin(ctx, store.RunMeta{Experiment: "pooling", Variant: c.Variant, Seed: c.Seed, Identity: c.Identity})
		check(err)
		value := levels[c.Variant] + 0.02*float64(c.Seed) + 0.001*float64(i*i%5)
		check(run.Metrics(9, []clip.Metric{{Name: "train/loss", Value: 3 - value}, {Name: "eval/emoji/top1", Value: value}, {Name: "eval/emoji/mean_rank", Value: 50 - 10*value}}))
		predictions := make([]clip.Prediction, 50)
		for x := range predictions {
			predictions[x] = clip.Prediction{Key: fmt.Sprint(x), Label: int32(x), Top: []int32{int32(x)}}
			if float64(x) >= 50*value {
				predictions[x].Top[0]++
			}
		}
		check(run.Predictions(9, "emoji", "label", predictions))
		check(run.Finish(ctx, clip.StatusDone, nil))
	}
	return dir
}

func TestAblation(t *testing.T) {
	dir := pooling(t)
	list := must(t, dir, "ablation", "--db", "r.db")
	if !strings.Contains(list, "pooling") || !strings.Contains(list, "empty") || !strings.Contains(list, "12    11") {
		t.Errorf("the list is\n%s", list)
	}
	text := must(t, dir, "ablation", "pooling", "--db", "r.db")
	for _, want := range []string{"pool=average", "better", "unfinished, not judged", "UNFINISHED, 1 of 12 cells are still to come (1 missing)", "mean_rank ↓", "Right or wrong on 50 examples of emoji/label", "Effect of each factor", "pool=max  3     missing"} {
		if !strings.Contains(text, want) && !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var parsed struct {
		Metrics []struct {
			Name     string
			Higher   bool `json:"higher_is_better"`
			Compared bool
		}
		Level float64
		Tests int
	}
	out := must(t, dir, "ablation", "pooling", "--db", "r.db", "--format", "json", "--metric", "train/loss,eval/emoji/top1", "--level", "0.9")
	if err := json.Unmarshal([]byte(out), &parsed); err != nil {
		t.Fatal(err)
	}
	if m := parsed.Metrics; len(m) != 2 || m[0].Name != "train/loss" || m[0].Higher || !m[1].Higher || !m[1].Compared || parsed.Level != 0.9 || parsed.Tests != 4 {
		t.Errorf("%+v", parsed)
	}
	for _, format := range []string{"markdown", "latex", "csv", "html"} {
		if out := must(t, dir, "ablation", "pooling", "--db", "r.db", "--format", format); !strings.Contains(out, "pool=average") {
			t.Errorf("%s:\n%s", format, out)
		}
	}
	if out := must(t, dir, "__complete", "ablation", "--db", "r.db", ""); !strings.HasPrefix(out, "pooling\nempty\n") {
		t.Errorf("completion gives %q", out)
	}
}

func TestAblationFaults(t *testing.T) {
	dir := pooling(t)
	for want, args := range map[string][]string{
		"did you mean pooling?":         {"poling"},
		"did you mean eval/emoji/top1?": {"pooling", "--metric", "eval/emoji/top"},
		"it has eval/emoji/mean_rank":   {"pooling", "--metric", "fid"},
		"markdown, latex":               {"pooling", "--format", "pdf"},
		"is not between 0 and 1":        {"pooling", "--level", "95"},
		"recorded nothing yet":          {"empty"},
		"did you mean pool=max?":        {"pooling", "--baseline", "pool=maxx"},
		"has no variant \"attention\"":  {"pooling", "--variants", "pool=max,attention"},
		"paired or pooled":              {"pooling", "--analysis", "unpaired"},
	} {
		r := try(t, dir, append([]string{"ablation", "--db", "r.db"}, args...)...)
		if r.code != 2 || !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("%v: code %d, %s, want %q", args, r.code, r.stderr, want)
		}
	}
}

func TestLeaderboardTakesTheDirectionOfTheSpec(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	db, err := store.Open(filepath.Join(dir, "r.db"))
	if err != nil {
		t.Fatal(err)
	}
	settings := store.Settings{Directions: map[string]string{"eval/test/top1": "down"}}
	if err := db.Plan(ctx, store.Experiment{Name: "other", Metric: "eval/test/top1", Settings: settings}, nil); err != nil {
		t.Fatal(err)
	}
	for i, v := range []string{"baseline", "a"} {
		run, err := db.Begin(ctx, store.RunMeta{Experiment: "other", Variant: v})
		if err == nil {
			err = run.Metrics(1, []clip.Metric{{Name: "eval/test/top1", Value: float64(i) / 9}})
		}
		if err == nil {
			err = run.Finish(ctx, clip.StatusDone, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r := try(t, dir, "leaderboard", "other", "--db", "r.db", "--direction", "left"); r.code != 2 || !strings.Contains(r.stderr, "up or down") {
		t.Errorf("%+v", r)
	}
	if out := must(t, dir, "leaderboard", "other", "--db", "r.db", "--csv"); !strings.Contains(strings.SplitN(out, "\n", 3)[1], "baseline") {
		t.Errorf("the least is not first:\n%s", out)
	}
}
