package store_test

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"tandem/core/clip"
	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// filled makes a small database of one experiment, and returns the ids of the runs that fill its cells.
func filled(t *testing.T, size storetest.Size) (*store.DB, *store.Reader, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.db")
	db, err := store.Open(path)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	must(t, storetest.Fill(t.Context(), db, size, nil))
	r, err := store.OpenReader(path)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	cells, err := r.Cells(t.Context(), storetest.Experiment(0))
	must(t, err)
	var ids []string
	for _, c := range cells {
		if c.RunID != "" {
			ids = append(ids, c.RunID)
		}
	}
	return db, r, ids
}

func TestSummariesAreWhatGetSays(t *testing.T) {
	_, r, ids := filled(t, storetest.Size{Runs: 20, Metrics: 9, Points: 3})
	all, err := r.Summaries(t.Context(), ids, storetest.Metric)
	must(t, err)
	params, err := r.ParamsOf(t.Context(), ids)
	must(t, err)
	if len(ids) < 15 || len(all) != len(ids) {
		t.Fatalf("%d runs, %d summaries", len(ids), len(all))
	}
	for _, id := range ids {
		want, err := r.Get(t.Context(), id)
		must(t, err)
		got := all[id]
		if got.Metrics[storetest.Metric].Last != want.Metrics[storetest.Metric].Last || len(got.Metrics) > 1 {
			t.Errorf("%s: metrics %+v", id, got.Metrics)
		}
		for what, pair := range map[string][2]any{
			"device": {got.Device, want.Device}, "status": {got.Status, want.Status}, "time": {got.DurationS, want.DurationS}, "samples": {got.SamplesSeen, want.SamplesSeen},
			"facts": {got.Facts, want.Facts}, "plugins": {got.Plugins, want.Plugins}, "predictions": {append([]store.PredictionInfo{}, got.Predictions...), want.Predictions},
			"libraries": {got.Libraries, want.Libraries}, "params": {params[id], want.Params},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s of %s: %v, and Get says %v", what, id, pair[0], pair[1])
			}
		}
	}
}

func TestCurvesOfManyRunsAreTheirCurves(t *testing.T) {
	_, r, ids := filled(t, storetest.Size{Runs: 12, Metrics: 3, Points: 60})
	whole, err := r.CurvesOf(t.Context(), ids, storetest.Metric, 60, 10)
	must(t, err)
	binned, err := r.CurvesOf(t.Context(), ids, storetest.Metric, 59, 10)
	must(t, err)
	if whole.Longest != 60 || binned.Longest != 60 || whole.Low != 10 || whole.High != 600 {
		t.Errorf("from %d to %d, %d points", whole.Low, whole.High, whole.Longest)
	}
	for _, id := range ids {
		curve, err := r.Curve(t.Context(), id, storetest.Metric)
		must(t, err)
		if len(curve) == 0 && len(whole.Of[id]) == 0 {
			continue
		}
		if !reflect.DeepEqual(whole.Of[id], curve) {
			t.Errorf("the curve of %s is another one", id)
		}
		if len(curve) != 60 {
			continue
		}
		sum := 0.0
		for _, p := range curve[:6] {
			sum += p.Value
		}
		if b := binned.Of[id]; len(b) != 10 || b[0].Step != 35 || math.Abs(b[0].Value-sum/6) > 1e-12 {
			t.Errorf("of %s there are %d bins, the first %+v, want the mean %g", id, len(b), b[:1], sum/6)
		}
	}
}

func TestTheStampChangesWithTheStudyOnly(t *testing.T) {
	db, r, _ := filled(t, storetest.Size{Runs: 12, Metrics: 3, Points: 4})
	stamp := func() string {
		s, err := r.Stamp(t.Context(), storetest.Experiment(0))
		must(t, err)
		return s
	}
	begin := func() *store.Run {
		run, err := db.Begin(t.Context(), store.RunMeta{Experiment: storetest.Experiment(0), Variant: "new", Metric: storetest.Metric})
		must(t, err)
		must(t, run.Flush(t.Context()))
		return run
	}
	first := stamp()
	run := begin()
	second := stamp()
	must(t, run.Metrics(1, []clip.Metric{{Name: storetest.Metric, Value: .5}}))
	must(t, run.Flush(t.Context()))
	if second == first || stamp() != second {
		t.Error("a new run keeps the stamp, or what it records changes it")
	}
	must(t, run.Finish(t.Context(), clip.StatusDone, nil))
	third := stamp()
	if third == second {
		t.Error("the end of a run keeps the stamp")
	}
	must(t, db.RecordEvaluation(t.Context(), run.ID(), store.Evaluation{Name: "emoji", Step: 1, SHA256: "x"}, []clip.Metric{{Name: storetest.Metric, Value: .7}}, nil))
	if stamp() == third {
		t.Error("an evaluation keeps the stamp")
	}
}
