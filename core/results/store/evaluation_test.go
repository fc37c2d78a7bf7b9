package store

import (
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// An evaluation of an earlier checkpoint does not become the last value; one of other settings does not stand in one curve with
// those before; a run that goes back loses those of later steps.
func TestEvaluationsAfterTheFact(t *testing.T) {
	db := open(t)
	run, err := db.Begin(ctx, RunMeta{Experiment: "e"})
	must(t, err)
	must(t, run.Metrics(20, []clip.Metric{{Name: "eval/own/top1", Value: .5}, {Name: "train/loss", Value: 2}}))
	must(t, run.Predictions(20, "own", "label", []clip.Prediction{{Key: "k", Top: []int32{0}}}))
	must(t, run.Finish(ctx, clip.StatusDone, nil))
	before, err := db.Get(ctx, run.ID())
	must(t, err)
	record := func(step int, sha string, top1 float64) {
		t.Helper()
		must(t, db.RecordEvaluation(ctx, run.ID(), Evaluation{Name: "s", Step: step, SHA256: sha, Suite: "suite", Samples: 1},
			[]clip.Metric{{Name: "eval/s/top1", Value: top1}}, []Outcomes{{"s", "label", []clip.Prediction{{Key: "k", Top: []int32{1}}}}, {"s/probe", "label", []clip.Prediction{{Key: "k"}}}}))
	}
	record(20, "a", .75)
	record(10, "a", .875)
	expect := func(last, best float64, n int64, evaluations, predictions int) {
		t.Helper()
		d, err := db.Get(ctx, run.ID())
		must(t, err)
		s := d.Metrics["eval/s/top1"]
		if float64(s.Last) != last || float64(s.Best) != best || s.N != n || len(d.Evaluations) != evaluations || len(d.Predictions) != 1+predictions {
			t.Errorf("%+v, %d evaluations, %d predictions", s, len(d.Evaluations), len(d.Predictions))
		}
		if own := d.Metrics["eval/own/top1"]; float64(own.Last) != .5 || own.N != 1 || d.Status != "done" || *d.EndedAt != *before.EndedAt || d.DurationS != before.DurationS {
			t.Errorf("the run has changed: %+v %+v", own, d.RunInfo)
		}
	}
	expect(.75, .875, 2, 2, 4)
	record(20, "a", .625) // again
	expect(.625, .875, 2, 2, 4)
	record(20, "b", .25) // of something else: that of step 10 goes
	expect(.25, .25, 1, 1, 2)
	got, err := db.PointsOf(ctx, run.ID(), "s", 20)
	must(t, err)
	if len(got) != 1 || got[0] != (clip.Metric{Name: "eval/s/top1", Value: .25}) {
		t.Errorf("points %v", got)
	}
	if err := db.RecordEvaluation(ctx, "nobody", Evaluation{Name: "s"}, nil, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no run: %v", err)
	}
	again, err := db.Resume(ctx, run.ID(), 15)
	must(t, err)
	must(t, again.Finish(ctx, clip.StatusDone, nil))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if _, has := d.Metrics["eval/s/top1"]; has || len(d.Evaluations) != 0 {
		t.Errorf("beyond the step that it went back to: %+v", d.Evaluations)
	}
}
