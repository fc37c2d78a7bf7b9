package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
)

var ctx = context.Background()

// open opens a database in a folder of the test's own.
func open(t testing.TB) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func begin(t testing.TB, db *DB, m RunMeta) *Run {
	t.Helper()
	if m.Experiment == "" {
		m.Experiment = "test"
	}
	run, err := db.Begin(ctx, m)
	must(t, err)
	return run
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// artifact records a file of a run, as older versions did.
func artifact(t testing.TB, db *DB, run *Run) {
	t.Helper()
	must(t, run.queue(1, func(b *batch) error {
		_, err := b.exec("INSERT INTO artifact (run_id, path, kind, bytes, sha256, at_ms) VALUES (?,'run.log','log',12,'cc',?)", run.state.id, b.now)
		return err
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Fatalf("error %v, want kind %s", err, kind)
	}
}

func TestRunKeepsEverythingRecorded(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{
		Experiment: "pooling", Variant: "average", Seed: 3, Identity: "abc", Metric: "eval/emoji/top1",
		Spec:    "name: pooling\n",
		Params:  map[string]any{"train": map[string]any{"batch_size": 128, "lr": 1e-3, "amp": true}, "tags": []any{"a", "b"}, "none": nil},
		Plugins: []Plugin{{"image", "encoders/vit", "1.0.0", "aa"}, {"loss", "losses/clip", "1.0.0", "bb"}},
		Device:  "cpu", Threads: map[string]int{"image": 2}, Libraries: map[string]string{"onednn": "2.6"},
		GitCommit: "f00", GitDirty: true, DatasetDigest: "dd",
	})
	must(t, run.SetFacts(map[string]any{"parameters": map[string]any{"total": int64(151277313)}}))
	for step := 1; step <= 3; step++ {
		must(t, run.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 5 / float64(step)}, {Name: "train/samples_per_s", Value: 640}}))
	}
	must(t, run.Metrics(3, []clip.Metric{{Name: "eval/emoji/top1", Value: 0.5}}))
	must(t, run.Event("warning", "collapse", "loss is ln B", "detail"))
	must(t, run.Checkpoint(3, "/runs/x/3"))
	artifact(t, db, run)
	must(t, run.Finish(ctx, clip.StatusDone, nil))
	wantKind(t, run.Metrics(4, []clip.Metric{{Name: "train/loss"}}), fault.Conflict)

	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if d.Status != "done" || d.Variant != "average" || d.Seed != 3 || d.Identity != "abc" || !d.GitDirty || d.DatasetDigest != "dd" || d.Spec != "name: pooling\n" {
		t.Errorf("run is %+v", d)
	}
	if d.Parameters == nil || *d.Parameters != 151277313 {
		t.Errorf("parameters %v, want 151277313", d.Parameters)
	}
	if *d.Steps != 3 || *d.SamplesSeen != 384 || *d.ImagesPerS != 640 || *d.StepMS != 200 {
		t.Errorf("steps %d, samples %v, images/s %v, step %v ms; want 3, 384, 640, 200", *d.Steps, *d.SamplesSeen, *d.ImagesPerS, *d.StepMS)
	}
	if d.Value == nil || *d.Value != 0.5 {
		t.Errorf("value of the deciding metric is %v, want 0.5", d.Value)
	}
	loss := d.Metrics["train/loss"]
	if loss.First != 5 || loss.Last != Number(5.0/3) || loss.Best != Number(5.0/3) || *loss.BestStep != 3 || loss.Max != 5 || loss.N != 3 || loss.Better != -1 {
		t.Errorf("summary of the loss is %+v", loss)
	}
	if d.Params["train.batch_size"] != int64(128) || d.Params["train.lr"] != 1e-3 || d.Params["train.amp"] != true || fmt.Sprintf("%s", d.Params["tags"]) != `["a","b"]` {
		t.Errorf("params are %v", d.Params)
	}
	if len(d.Plugins) != 2 || d.Plugins[0].SHA256 != "aa" || len(d.Events) != 1 || d.Events[0].Step != 3 || len(d.Checkpoints) != 1 || len(d.Artifacts) != 1 {
		t.Errorf("plugins %v, events %v, checkpoints %v, artifacts %v", d.Plugins, d.Events, d.Checkpoints, d.Artifacts)
	}
	if len(d.History) != 2 || d.History[0].Status != "running" || d.History[1].Status != "done" {
		t.Errorf("status history is %v", d.History)
	}
	curve, err := db.Curve(ctx, run.ID(), "train/loss")
	must(t, err)
	if diff := cmp.Diff(results.Curve{{Step: 1, Value: 5}, {Step: 2, Value: 2.5}, {Step: 3, Value: 5.0 / 3}}, curve); diff != "" {
		t.Error(diff)
	}
}

func TestNaNAndInfinitySurvive(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	want := []float64{math.NaN(), 2, math.Inf(1), math.Inf(-1), 1, math.NaN()}
	for step, v := range want {
		must(t, run.Metrics(step, []clip.Metric{{Name: "train/accuracy", Value: v}, {Name: "train/nan", Value: math.NaN()}}))
	}
	must(t, run.Flush(ctx))
	curve, err := db.Curve(ctx, run.ID(), "train/accuracy")
	must(t, err)
	if len(curve) != len(want) {
		t.Fatalf("%d points, want %d", len(curve), len(want))
	}
	for i, p := range curve {
		if v := float64(p.Value); v != want[i] && !(math.IsNaN(v) && math.IsNaN(want[i])) {
			t.Errorf("step %d is %v, want %v", i, v, want[i])
		}
	}
	final, err := db.Final(ctx, run.ID())
	must(t, err)
	x := final["train/accuracy"]
	if !math.IsNaN(float64(x.First)) || !math.IsNaN(float64(x.Last)) || !math.IsInf(float64(x.Min), -1) || !math.IsInf(float64(x.Max), 1) || *x.BestStep != 2 || x.Mean != 1.5 || x.N != 6 {
		t.Errorf("summary is %+v", x)
	}
	if nan := final["train/nan"]; !math.IsNaN(float64(nan.Best)) || nan.BestStep != nil || !math.IsNaN(float64(nan.Mean)) || nan.N != 6 {
		t.Errorf("summary of nothing but NaN is %+v", nan)
	}
	table, err := db.Query(ctx, "SELECT count(*), count(value) FROM v_metrics WHERE metric = 'train/accuracy'")
	must(t, err)
	if table.Rows[0][0] != int64(6) || table.Rows[0][1] != int64(4) {
		t.Errorf("v_metrics has %v, want 6 rows, 4 of them not NULL", table.Rows[0])
	}
}

func TestRecordingAStepAgainReplacesIt(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	for _, p := range (results.Curve{{Step: 1, Value: 9}, {Step: 2, Value: 3}, {Step: 3, Value: 5}, {Step: 2, Value: 4}, {Step: 1, Value: 8}}) {
		must(t, run.Metrics(p.Step, []clip.Metric{{Name: "train/loss", Value: float64(p.Value)}}))
	}
	must(t, run.Flush(ctx))
	curve, _ := db.Curve(ctx, run.ID(), "train/loss")
	if diff := cmp.Diff(results.Curve{{Step: 1, Value: 8}, {Step: 2, Value: 4}, {Step: 3, Value: 5}}, curve); diff != "" {
		t.Error(diff)
	}
	checkSummaries(t, db)
}

// checkSummaries compares every row of run_summary with the points it is made of.
func checkSummaries(t testing.TB, r interface {
	Query(context.Context, string, ...any) (*Table, error)
}) {
	t.Helper()
	table, err := r.Query(ctx, `
		SELECT r.key, m.name FROM run_summary s JOIN run r ON r.id = s.run_id JOIN metric m ON m.id = s.metric_id
		JOIN (SELECT run_id, metric_id, count(*) n, count(value) n_finite, max(step) last_step, min(value) low, max(value) high,
			sum(value) total FROM point GROUP BY run_id, metric_id) p USING (run_id, metric_id)
		WHERE s.n <> p.n OR s.n_finite <> p.n_finite OR s.last_step <> p.last_step OR s.min <> low OR s.max <> high
			OR abs(s.sum - total) > 1e-9 * (1 + abs(total))
			OR s.last <> (SELECT value FROM point q WHERE q.run_id = s.run_id AND q.metric_id = s.metric_id ORDER BY step DESC LIMIT 1)
			OR s.first <> (SELECT value FROM point q WHERE q.run_id = s.run_id AND q.metric_id = s.metric_id ORDER BY step LIMIT 1)
			OR s.best <> CASE m.better WHEN 1 THEN high ELSE low END
			OR s.best <> (SELECT value FROM point q WHERE q.run_id = s.run_id AND q.metric_id = s.metric_id AND q.step = s.best_step)
		UNION ALL
		SELECT run_id, metric_id FROM (SELECT DISTINCT run_id, metric_id FROM point
			EXCEPT SELECT run_id, metric_id FROM run_summary)
		UNION ALL
		SELECT run_id, metric_id FROM (SELECT run_id, metric_id FROM run_summary
			EXCEPT SELECT DISTINCT run_id, metric_id FROM point)`)
	must(t, err)
	if len(table.Rows) > 0 {
		t.Errorf("summaries that disagree with their points: %v", table.Rows)
	}
}

func TestPredictionsUnpackAsRecorded(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	p := []clip.Prediction{
		{Key: "1f600/google", Label: 3, Top: []int32{3, 1, 0, 7, 300}, Score: 0.25},
		{Key: "", Label: -1, Top: nil, Score: float32(math.Inf(-1))},
		{Key: "ключ", Label: 70000, Top: []int32{1}, Score: -0.5},
	}
	must(t, run.Predictions(10, "emoji", "label", p))
	must(t, run.Predictions(20, "emoji", "label", p))
	must(t, run.Flush(ctx))
	got, err := db.Predictions(ctx, run.ID(), "emoji", "label", -1)
	must(t, err)
	p[1].Top = []int32{}
	if diff := cmp.Diff(p, got); diff != "" {
		t.Error(diff)
	}
	table, err := db.Query(ctx, "SELECT (SELECT count(*) FROM example_set), (SELECT count(*) FROM prediction), correct FROM v_predictions LIMIT 1")
	must(t, err)
	if diff := cmp.Diff([]any{int64(1), int64(2), int64(1)}, table.Rows[0]); diff != "" {
		t.Error(diff)
	}
	_, err = db.Predictions(ctx, run.ID(), "emoji", "label", 11)
	wantKind(t, err, fault.NotFound)
}

func TestOutcomesSayWhichPredictionsOfDoneCellsAreRight(t *testing.T) {
	db := open(t)
	record := func(seed int64, p []clip.Prediction, end clip.Status) string {
		run, err := db.Begin(ctx, RunMeta{Experiment: "e", Variant: "v", Seed: seed})
		must(t, err)
		must(t, run.Predictions(10, "emoji", "label", []clip.Prediction{{Key: "other"}}))
		must(t, run.Predictions(20, "emoji", "label", p))
		must(t, run.Predictions(20, "other", "label", p))
		must(t, run.Finish(ctx, end, nil))
		return run.ID()
	}
	p := []clip.Prediction{{Key: "a", Label: 3, Top: []int32{3, 1}}, {Key: "b", Label: 3, Top: []int32{1, 3}}, {Key: "c", Label: -1, Top: []int32{-1}}, {Key: "d", Label: 0}}
	first := record(0, p, clip.StatusDone)
	record(1, p, clip.StatusStopped)
	p[1].Top[0] = 3
	second := record(2, p, clip.StatusDone)
	got, err := db.Outcomes(ctx, "e", "emoji")
	must(t, err)
	if len(got) != 2 || got[0].Examples != got[1].Examples {
		t.Fatalf("%+v", got)
	}
	set := got[0].Examples
	want := []Outcome{{first, "label", set, []bool{true, false, true, false}}, {second, "label", set, []bool{true, true, true, false}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, damage := range []string{"UPDATE prediction SET data = x'01ff'", "UPDATE prediction SET data = x'02'", "UPDATE example_set SET data = x'0101'"} {
		must(t, db.w.task(ctx, func(b *batch) error {
			_, err := b.exec(damage)
			return err
		}))
		_, err := db.Outcomes(ctx, "e", "emoji")
		wantKind(t, err, fault.Corrupt)
	}
	if none, err := db.Outcomes(ctx, "nobody", "emoji"); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func TestDamagedPredictionsAreCorrupt(t *testing.T) {
	p := []clip.Prediction{{Key: "a", Label: 1, Top: []int32{1, 2}, Score: 1}, {Key: "b", Label: 2, Top: []int32{200}, Score: 2}}
	examples, outcomes := packExamples(p), packOutcomes(p)
	for n := range outcomes {
		_, err := unpack(examples, outcomes[:n], 2)
		wantKind(t, err, fault.Corrupt)
	}
	for n := range examples {
		_, err := unpack(examples[:n], outcomes, 2)
		wantKind(t, err, fault.Corrupt)
	}
	_, err := unpack(examples, outcomes, 3)
	wantKind(t, err, fault.Corrupt)
}

func TestFindRun(t *testing.T) {
	db := open(t)
	_, err := db.FindRun(ctx, Latest)
	wantKind(t, err, fault.NotFound)
	a, b := begin(t, db, RunMeta{}), begin(t, db, RunMeta{Variant: "other"})
	for ref, want := range map[string]string{a.ID(): a.ID(), b.ID(): b.ID(), Latest: b.ID(), a.ID()[:9]: a.ID()} {
		got, err := db.FindRun(ctx, ref)
		must(t, err)
		if got != want {
			t.Errorf("%q is run %s, want %s", ref, got, want)
		}
	}
	_, err = db.FindRun(ctx, a.ID()[:2])
	wantKind(t, err, fault.Invalid)
	if f := err.(*fault.Error); !containsAll(f.Detail, a.ID(), b.ID(), "other") {
		t.Errorf("an ambiguous prefix lists %q", f.Detail)
	}
	for _, ref := range []string{"", "nope", "%", "_"} {
		_, err = db.FindRun(ctx, ref)
		wantKind(t, err, fault.NotFound)
	}
}

func TestWhatCanBeResumedIsFoundByIdentity(t *testing.T) {
	db := open(t)
	find := func() (resumable string) {
		resumable, err := db.FindResumable(ctx, "x")
		must(t, err)
		return resumable
	}
	if resumable := find(); resumable != "" {
		t.Errorf("in an empty database: %q", resumable)
	}
	a := begin(t, db, RunMeta{Identity: "x"})
	must(t, a.Finish(ctx, clip.StatusInterrupted, fault.New(fault.Canceled, "interrupted")))
	if resumable := find(); resumable != a.ID() {
		t.Errorf("after an interruption: %q, want %s", resumable, a.ID())
	}
	b := begin(t, db, RunMeta{Identity: "x"})
	must(t, b.Finish(ctx, clip.StatusDone, nil))
	if resumable := find(); resumable != "" {
		t.Errorf("after a success: %q", resumable)
	}
}

func TestResumeForgetsWhatCameAfterTheCheckpoint(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	record := func(run *Run, from, to int) {
		for step := from; step <= to; step++ {
			must(t, run.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 10 - float64(step)}}))
			must(t, run.Event("info", "note", fmt.Sprint(step), ""))
			must(t, run.Predictions(step, "e", "t", []clip.Prediction{{Key: "k"}}))
			must(t, run.Checkpoint(step, fmt.Sprint(step)))
		}
	}
	record(run, 1, 8)
	must(t, run.Metrics(7, []clip.Metric{{Name: "eval/late", Value: 1}}))
	must(t, run.Event("error", "died", "boom", "tail"))
	must(t, run.Finish(ctx, clip.StatusFailed, fault.New(fault.PluginDied, "boom").WithPlugin("losses/clip").WithDetail("tail")))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if d.Error == nil || d.Error.Kind != "plugin_died" || d.Error.Plugin != "losses/clip" || d.Error.Detail != "tail" {
		t.Errorf("error is %+v", d.Error)
	}

	again, err := db.Resume(ctx, run.ID(), 5)
	must(t, err)
	checkSummaries(t, db)
	d, err = db.Get(ctx, run.ID())
	must(t, err)
	if d.Status != "running" || d.Error != nil || *d.Steps != 5 || len(d.Predictions) != 5 || len(d.Checkpoints) != 5 || len(d.Events) != 6 {
		t.Errorf("resumed: %+v", d)
	}
	if _, there := d.Metrics["eval/late"]; there {
		t.Error("a metric with no points left keeps its summary")
	}
	record(again, 6, 8)
	must(t, again.Finish(ctx, clip.StatusDone, nil))
	checkSummaries(t, db)
	curve, _ := db.Curve(ctx, run.ID(), "train/loss")
	if len(curve) != 8 || curve[7].Value != 2 {
		t.Errorf("curve is %v", curve)
	}
	_, err = db.Resume(ctx, "nope", 0)
	wantKind(t, err, fault.NotFound)
}

func TestResumeRefusesARunInProgress(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	_, err := db.Resume(ctx, run.ID(), -1)
	wantKind(t, err, fault.Conflict)
	dead, err := db.MarkDead(ctx)
	must(t, err)
	if len(dead) != 0 {
		t.Errorf("marked %v dead, but this process lives", dead)
	}
}

func TestOnlyReadingQueriesRun(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	other := filepath.Join(t.TempDir(), "other.db")
	for _, query := range []string{
		"DELETE FROM run", "UPDATE run SET seed = 1", "INSERT INTO metric (name, better) VALUES ('x', 1)",
		"DROP TABLE run", "CREATE TABLE x (y)", "CREATE TEMP TABLE x (y)", "ATTACH '" + other + "' AS o",
		"PRAGMA user_version = 9", "PRAGMA query_only = 0", "PRAGMA journal_mode = DELETE", "VACUUM", "VACUUM INTO '" + other + "'",
		"SELECT 1; DELETE FROM run", "BEGIN; DELETE FROM run; COMMIT", "SELECT load_extension('x')",
		"SELECT * FROM nope", "SELECT nope FROM run", "SELEC 1", "WITH x AS (SELECT 1) DELETE FROM run",
	} {
		_, err := db.Query(ctx, query)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want invalid", query, err)
		}
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a query made a file")
	}
	table, err := db.Query(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i, sqrt(4), (SELECT run_id FROM v_runs) FROM n")
	must(t, err)
	if len(table.Rows) != 3 || table.Rows[2][1] != 2.0 || table.Rows[0][2] != run.ID() {
		t.Errorf("rows are %v", table.Rows)
	}
	_, err = db.Query(ctx, "PRAGMA table_info(run)")
	must(t, err)
}

func TestCompareShowsDifferingParameters(t *testing.T) {
	db := open(t)
	a := begin(t, db, RunMeta{Params: map[string]any{"lr": 1, "pool": "attention", "same": []any{1}}})
	b := begin(t, db, RunMeta{Params: map[string]any{"lr": 1.0, "pool": "average", "same": []any{1}, "extra": true}})
	must(t, a.Metrics(1, []clip.Metric{{Name: "eval/e/top1", Value: 0.5}}))
	must(t, b.Metrics(1, []clip.Metric{{Name: "eval/e/top1", Value: 0.75}, {Name: "train/loss", Value: 1}}))
	must(t, a.Flush(ctx))
	must(t, b.Flush(ctx))
	c, err := db.Compare(ctx, a.ID(), b.ID())
	must(t, err)
	if len(c.Metrics) != 2 || *c.Metrics[0].Values[1] != 0.75 || c.Metrics[1].Values[0] != nil {
		t.Errorf("metrics are %+v", c.Metrics)
	}
	want := []ParamComparison{{"extra", []any{nil, true}}, {"pool", []any{"attention", "average"}}}
	if diff := cmp.Diff(want, c.Params); diff != "" {
		t.Error(diff)
	}
}

func TestOpenReaderFaults(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenReader(filepath.Join(dir, "none.db"))
	wantKind(t, err, fault.NotFound)
	_, err = OpenReader(dir)
	wantKind(t, err, fault.Invalid)
	junk := filepath.Join(dir, "junk.db")
	must(t, os.WriteFile(junk, []byte("this is not a database, and long enough to be read as a header of one ..........................................."), 0o644))
	_, err = OpenReader(junk)
	wantKind(t, err, fault.Corrupt)
	_, err = Open(junk)
	wantKind(t, err, fault.Corrupt)

	odd := filepath.Join(dir, "a b?c#d%41.db")
	db, err := Open(odd)
	must(t, err)
	must(t, db.w.task(ctx, func(b *batch) error { return b.w.exec("PRAGMA user_version = 99") }))
	must(t, db.Close())
	if _, err := os.Stat(odd); err != nil {
		t.Error(err)
	}
	_, err = OpenReader(odd)
	wantKind(t, err, fault.Unavailable)
	_, err = Open(odd)
	wantKind(t, err, fault.Unavailable)
}

func TestIDsSortByTime(t *testing.T) {
	early, late := newID(idEpoch.AddDate(1, 0, 0)), newID(idEpoch.AddDate(1, 0, 0).Add(1e9))
	if len(early) != 10 || early >= late {
		t.Errorf("ids %s, %s: want 10 digits, ascending", early, late)
	}
}
