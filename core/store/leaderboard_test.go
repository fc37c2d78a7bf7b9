package store

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

func TestLeaderboard(t *testing.T) {
	db := open(t)
	_, err := db.Leaderboard(ctx, "", "", 0)
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
		runs, err := db.Leaderboard(ctx, c.experiment, c.metric, c.limit)
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
	_, err = db.Leaderboard(ctx, "", "", 0)
	wantKind(t, err, fault.Invalid) // x and y are decided by different metrics
	_, err = db.Leaderboard(ctx, "", "train/los", 0)
	wantKind(t, err, fault.NotFound)
	_, err = db.Leaderboard(ctx, "z", "", 0)
	wantKind(t, err, fault.NotFound)
}
