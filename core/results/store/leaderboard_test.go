package store

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

func TestLeaderboard(t *testing.T) {
	db := open(t)
	_, err := db.Leaderboard(ctx, "", "", 0, 0)
	wantKind(t, err, fault.Invalid)
	names := map[string]string{}
	for _, r := range []struct {
		name, experiment string
		loss, top1       float64
		status           clip.Status
	}{
		{"a", "x", 3, 0.1, clip.StatusDone}, {"b", "x", 1, 0.3, clip.StatusDone}, {"nan", "x", math.NaN(), 0.2, clip.StatusDone},
		{"failed", "x", 0, 1, clip.StatusFailed}, {"c", "y", 2, 0.3, clip.StatusDone}, {"infinite", "y", math.Inf(1), 0, clip.StatusDone},
		{"tainted", "y", 0, 1, clip.StatusDone},
	} {
		run := begin(t, db, RunMeta{Experiment: r.experiment, Metric: map[string]string{"x": "eval/e/top1", "y": "train/loss"}[r.experiment]})
		names[run.ID()] = r.name
		must(t, run.Metrics(1, []clip.Metric{{Name: "train/loss", Value: r.loss}, {Name: "eval/e/top1", Value: r.top1}}))
		if r.name == "tainted" {
			must(t, run.Taint("test"))
		}
		must(t, run.Finish(ctx, r.status, nil))
	}
	for _, c := range []struct {
		experiment, metric string
		limit              int
		want               string
	}{
		{"", "train/loss", 0, "b c a infinite nan "},
		{"x", "train/loss", 0, "b a nan "},
		{"", "eval/e/top1", 2, "c b "},
		{"x", "", 0, "b nan a "},
		{"y", "", 1, "c "},
	} {
		runs, err := db.Leaderboard(ctx, c.experiment, c.metric, 0, c.limit)
		must(t, err)
		got := ""
		for _, r := range runs {
			got += names[r.ID] + " "
			if c.metric != "" && r.Metric != c.metric || r.Value == nil {
				t.Errorf("%+v: row %+v", c, r)
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	_, err = db.Leaderboard(ctx, "", "", 0, 0)
	wantKind(t, err, fault.Invalid) // x and y are decided by different metrics
	_, err = db.Leaderboard(ctx, "", "train/los", 0, 0)
	wantKind(t, err, fault.NotFound)
	_, err = db.Leaderboard(ctx, "z", "", 0, 0)
	wantKind(t, err, fault.NotFound)
}

func TestALeaderboardWithoutADirectionAsksForOne(t *testing.T) {
	db := open(t)
	for _, v := range []float64{1, 3, 2} {
		run := begin(t, db, RunMeta{Experiment: "x"})
		must(t, run.Metrics(1, []clip.Metric{{Name: "train/grad_norm", Value: v}, {Name: "eval/e/nll", Value: v}}))
		must(t, run.Finish(ctx, clip.StatusDone, nil))
	}
	_, err := db.Leaderboard(ctx, "", "train/grad_norm", 0, 0)
	wantKind(t, err, fault.Invalid)
	first := func(experiment, metric string, way int) float64 {
		runs, err := db.Leaderboard(ctx, experiment, metric, way, 1)
		must(t, err)
		return float64(*runs[0].Value)
	}
	if a, b, c, d := first("", "train/grad_norm", -1), first("", "train/grad_norm", 1), first("", "eval/e/nll", 0), first("", "eval/e/nll", 1); a != 1 || b != 3 || c != 1 || d != 3 {
		t.Errorf("first are %v %v %v %v", a, b, c, d)
	}
	must(t, db.Plan(ctx, Experiment{Name: "x", Settings: Settings{Directions: map[string]string{"eval/e/nll": "up"}}}, nil))
	if got := first("x", "eval/e/nll", 0); got != 3 {
		t.Errorf("by the spec's direction the first is %v", got)
	}
	var best any
	must(t, db.db.QueryRowContext(ctx, "SELECT group_concat(DISTINCT coalesce(best, 'none')) FROM v_final WHERE metric = 'train/grad_norm'").Scan(&best))
	if best != "none" {
		t.Errorf("the best gradient norm is %v", best)
	}
}

func TestRunsOfOneIdentityThatDifferAreFound(t *testing.T) {
	db := open(t)
	ids := map[float64]string{}
	for _, v := range []float64{1, 1.5, 1} {
		run := begin(t, db, RunMeta{Experiment: "x", Variant: "v", Identity: "one"})
		must(t, run.Metrics(1, []clip.Metric{{Name: "train/loss", Value: v}}))
		must(t, run.Finish(ctx, clip.StatusDone, nil))
		ids[v] = run.ID()
	}
	twins, err := db.Twins(ctx, "x", []string{"train/loss", "eval/e/top1"})
	must(t, err)
	if len(twins) != 1 || twins[0].RunID != ids[1] || twins[0].Other != ids[1.5] || twins[0].Value != 1 || twins[0].Was != 1.5 || twins[0].Variant != "v" {
		t.Errorf("%+v", twins)
	}
}
