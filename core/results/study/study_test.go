package study_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
	"tandem/core/results/study"
)

const top1 = "eval/emoji/top1"

// database holds the results of one test.
type database struct {
	t    *testing.T
	path string
	db   *store.DB
}

func open(t *testing.T) *database {
	t.Helper()
	r := &database{t: t, path: filepath.Join(t.TempDir(), "r.db")}
	db, err := store.Open(r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.db = db
	t.Cleanup(func() { db.Close() })
	return r
}

func (r *database) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *database) plan(e store.Experiment, cells ...store.Cell) {
	r.t.Helper()
	r.check(r.db.Plan(context.Background(), e, cells))
}

// done records a run that is done, with these metrics at step 9, and returns its id.
func (r *database) done(meta store.RunMeta, metrics ...clip.Metric) string {
	r.t.Helper()
	run, err := r.db.Begin(context.Background(), meta)
	r.check(err)
	r.check(run.Metrics(9, metrics))
	r.check(run.Finish(context.Background(), clip.StatusDone, nil))
	return run.ID()
}

func (r *database) table(name string, o study.Options) (*ablation.Table, error) {
	r.t.Helper()
	reader, err := store.OpenReader(r.path)
	r.check(err)
	defer reader.Close()
	if o.Level == 0 {
		o.Level = 0.95
	}
	return study.Table(context.Background(), reader, name, o)
}

func (r *database) mustTable(name string, o study.Options) *ablation.Table {
	r.t.Helper()
	t, err := r.table(name, o)
	r.check(err)
	return t
}

// pooling records an experiment of a baseline, a better variant and a worse one, whose last cell is missing.
func pooling(t *testing.T) *database {
	r := open(t)
	levels := map[string]float64{"baseline": 0.5, "pool=average": 0.6, "pool=max": 0.42}
	var cells []store.Cell
	for _, v := range []string{"baseline", "pool=average", "pool=max"} {
		for seed := range int64(4) {
			pool := strings.TrimPrefix(strings.Replace(v, "baseline", "attention", 1), "pool=")
			cells = append(cells, store.Cell{Variant: v, Seed: seed, Identity: fmt.Sprint(v, seed), Levels: map[string]string{"pool": pool}})
		}
	}
	r.plan(store.Experiment{Name: "pooling", Baseline: "baseline", Metric: top1, Design: "one-at-a-time",
		Factors: []results.Factor{{Name: "pool", Levels: []string{"attention", "average", "max"}}}}, cells...)
	for i, c := range cells[:len(cells)-1] {
		run, err := r.db.Begin(context.Background(), store.RunMeta{Experiment: "pooling", Variant: c.Variant, Seed: c.Seed, Identity: c.Identity})
		r.check(err)
		value := levels[c.Variant] + 0.02*float64(c.Seed) + 0.001*float64(i*i%5)
		r.check(run.Metrics(9, []clip.Metric{{Name: "train/loss", Value: 3 - value}, {Name: top1, Value: value}, {Name: "eval/emoji/mean_rank", Value: 50 - 10*value}}))
		predictions := make([]clip.Prediction, 50)
		for x := range predictions {
			predictions[x] = clip.Prediction{Key: fmt.Sprint(x), Label: int32(x), Top: []int32{int32(x)}}
			if float64(x) >= 50*value {
				predictions[x].Top[0]++
			}
		}
		r.check(run.Predictions(9, "emoji", "label", predictions))
		r.check(run.Finish(context.Background(), clip.StatusDone, nil))
	}
	return r
}

func columns(t *ablation.Table) (text string) {
	for _, m := range t.Metrics {
		text += fmt.Sprintf("%s %s %v; ", m.Name, m.Direction, m.Compared)
	}
	return text
}

func TestTheExperimentsMetricDecidesAndTheOthersOfEvaluationsStandBeside(t *testing.T) {
	r := pooling(t)
	table := r.mustTable("pooling", study.Options{})
	if got := columns(table); got != "eval/emoji/top1 up true; eval/emoji/mean_rank down false; " {
		t.Errorf("columns %s", got)
	}
	if table.Predicted == nil || len(table.Rows) != 3 || len(table.Absent) != 1 || table.Rows[0].Columns[0].Summary.N != 4 {
		t.Errorf("%+v", table)
	}
	table = r.mustTable("pooling", study.Options{Metrics: []string{"train/loss", "top1"}})
	if got := columns(table); got != "train/loss down true; eval/emoji/top1 up true; " || table.Predicted != nil {
		t.Errorf("columns %s, predictions %v", got, table.Predicted)
	}
}

func TestASpecMaySayWhichWayAMetricIsGood(t *testing.T) {
	r := pooling(t)
	r.plan(store.Experiment{Name: "pooling", Settings: store.Settings{Directions: map[string]string{top1: "none"}}})
	if table := r.mustTable("pooling", study.Options{}); table.Metrics[0].Direction != metric.None {
		t.Errorf("columns %s", columns(table))
	}
}

func TestWhatIsNotThereIsNamedWithWhatIs(t *testing.T) {
	r := pooling(t)
	r.plan(store.Experiment{Name: "empty"})
	for want, ask := range map[string]struct {
		name string
		o    study.Options
	}{
		"did you mean pooling?":         {name: "poling"},
		"did you mean eval/emoji/top1?": {"pooling", study.Options{Metrics: []string{"eval/emoji/top"}}},
		"it has eval/emoji/mean_rank":   {"pooling", study.Options{Metrics: []string{"fid"}}},
		"recorded nothing yet":          {name: "empty"},
		"did you mean pool=max?":        {"pooling", study.Options{Baseline: "pool=maxx"}},
		"has no variant \"attention\"":  {"pooling", study.Options{Variants: []string{"pool=max", "attention"}}},
	} {
		if _, err := r.table(ask.name, ask.o); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), want) {
			t.Errorf("%s %+v: %s, want %q", ask.name, ask.o, fault.Format(err), want)
		}
	}
}

func TestAnyTwoVariantsAreComparedAmongAllPairs(t *testing.T) {
	table := pooling(t).mustTable("pooling", study.Options{Baseline: "pool=average", Variants: []string{"baseline"}, Analysis: ablation.Pooled})
	if table.Baseline != "pool=average" || table.Analysis != ablation.Pooled || table.Tests != 3 || len(table.Rows) != 2 ||
		!strings.Contains(strings.Join(table.Notes, ""), "all 3 pairs of 3 variants") {
		t.Errorf("%+v", table)
	}
}

func TestCellsThatAreNotPlannedAnyMoreAreLeftOut(t *testing.T) {
	r := pooling(t)
	r.done(store.RunMeta{Experiment: "pooling", Variant: "pool=min", Identity: "min"}, clip.Metric{Name: top1, Value: 0.1})
	table := r.mustTable("pooling", study.Options{})
	if len(table.Rows) != 3 || !strings.Contains(strings.Join(table.Notes, ""), "1 cells that were run and are not planned any more are left out.") {
		t.Errorf("%d rows, notes %q", len(table.Rows), table.Notes)
	}
}

func TestRunsOfOneIdentityThatDifferAreNamed(t *testing.T) {
	r := pooling(t)
	id := r.done(store.RunMeta{Experiment: "pooling", Variant: "baseline", Seed: 2, Identity: "baseline2"}, clip.Metric{Name: top1, Value: 0.75})
	notes := strings.Join(r.mustTable("pooling", study.Options{}).Notes, "")
	if want := "WARNING: two runs of one identity differ in eval/emoji/top1: " + id + ", which is taken for baseline under seed 2, has 0.75"; !strings.Contains(notes, want) {
		t.Errorf("no %q in\n%s", want, notes)
	}
}

func TestTheTableSaysWhereTheDecidingSetAlsoChose(t *testing.T) {
	r := open(t)
	for name, e := range map[string]store.Experiment{
		"same":  {Design: "list", Settings: store.Settings{Stop: "median", StopMetric: "eval/test/top1"}},
		"other": {Design: "random", Settings: store.Settings{Stop: "median", StopMetric: "eval/val/top1", Choose: "eval/val/top1"}},
		"drawn": {Design: "random"},
	} {
		e.Name, e.Metric, e.Baseline = name, "eval/test/top1", "baseline"
		r.plan(e)
		for i, v := range []string{"baseline", "a", "b"} {
			r.done(store.RunMeta{Experiment: name, Variant: v}, clip.Metric{Name: "eval/test/top1", Value: float64(i) / 9}, clip.Metric{Name: "eval/val/top1", Value: float64(i*i) / 9})
		}
	}
	notes := func(name string) string { return strings.Join(r.mustTable(name, study.Options{}).Notes, "\n") }
	if same := notes("same"); !strings.Contains(same, "eval/test also stopped trials early (median, by eval/test/top1): what went on was chosen on the examples that it is judged by.") {
		t.Errorf("%s", same)
	}
	if other := notes("other"); strings.Contains(other, "also") || !strings.Contains(other, "Variants are chosen by eval/val/top1, and judged by eval/test/top1.") {
		t.Errorf("%s", other)
	}
	if drawn := notes("drawn"); !strings.Contains(drawn, "eval/test also chooses the best of these variants") {
		t.Errorf("%s", drawn)
	}
}

func TestCellsHaveTheirValuesAtTheFirstCheck(t *testing.T) {
	r := open(t)
	for name, after := range map[string]store.Settings{"steps": {StopSteps: 3}, "epoch": {StopEpochs: 1}, "epochs": {StopEpochs: 0.5}, "old": {}} {
		after.Stop, after.StopMetric = "median", top1
		r.plan(store.Experiment{Name: name, Metric: top1, Baseline: "baseline", Settings: after})
		for i, v := range []string{"baseline", "a"} {
			for seed := range int64(3) {
				run, err := r.db.Begin(context.Background(), store.RunMeta{Experiment: name, Variant: v, Seed: seed})
				r.check(err)
				r.check(run.SetFacts(map[string]any{"steps.epoch": int64(4)}))
				for step := 1; step < 9; step++ {
					r.check(run.Metrics(step, []clip.Metric{{Name: top1, Value: float64(step+i) / 99}}))
				}
				r.check(run.Finish(context.Background(), clip.StatusDone, nil))
			}
		}
	}
	for name, want := range map[string]string{"steps": "3 steps", "epoch": "1 epoch", "epochs": "0.5 epochs", "old": ""} {
		table := r.mustTable(name, study.Options{})
		if got := table.Check; (got != nil) != (want != "") || got != nil && got.After != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestATableSaysWhichRunsAreTaintedAndWhy(t *testing.T) {
	r := pooling(t)
	run, err := r.db.Begin(context.Background(), store.RunMeta{Experiment: "pooling", Variant: "pool=max", Seed: 3, Identity: "pool=max3"})
	r.check(err)
	r.check(run.Metrics(9, []clip.Metric{{Name: top1, Value: 0.9}}))
	r.check(run.Taint("./max stood in for encoders/vit"))
	r.check(run.Taint("a debugger was attached"))
	r.check(run.Taint("./max stood in for encoders/vit"))
	r.check(run.Finish(context.Background(), clip.StatusDone, nil))
	table := r.mustTable("pooling", study.Options{})
	const want = "The run of 1 cell is tainted and counts in nothing here: ./max stood in for encoders/vit; a debugger was attached."
	if len(table.Notes) == 0 || table.Notes[len(table.Notes)-1] != want {
		t.Errorf("notes %q", table.Notes)
	}
	if n := table.Gone[ablation.Tainted]; n != 1 {
		t.Errorf("%d cells are tainted", n)
	}
}
