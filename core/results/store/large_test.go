package store_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"tandem/core/results"
	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

// large opens the database that TANDEM_BENCH_DB names (tools/dbgen makes one of ten million points), or one of
// 300 runs × 20 metrics × 50 steps made for the benchmark.
func large(b *testing.B) *store.Reader {
	b.Helper()
	path := os.Getenv("TANDEM_BENCH_DB")
	if path == "" {
		path = filepath.Join(b.TempDir(), "results.db")
		db, err := store.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := storetest.Fill(context.Background(), db, storetest.Size{Runs: 300, Metrics: 20, Points: 50}, nil); err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	r, err := store.OpenReader(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// TestNoQuestionReadsEveryPoint asks SQLite how it would answer: a curve's points and a metric's are found by
// their key, and what is asked of one experiment reads the cells of that one.
func TestNoQuestionReadsEveryPoint(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const all = `SCAN (point|p|run_summary|s|prediction|param)\b`
	const cells = all + `|SCAN (t|r|trial|run)\b`
	for query, never := range map[string]string{
		"SELECT step, value FROM v_metrics WHERE run_id = 'x' AND metric = 'y' ORDER BY step":                  all,
		"SELECT run_id, min(step) FROM v_metrics WHERE metric = 'y' AND value >= 0.5 GROUP BY run_id":          all,
		"SELECT run_id, last FROM v_final WHERE metric = 'y'":                                                  all,
		"SELECT run_id FROM v_params WHERE key = 'y' AND value = 1":                                            all,
		"SELECT * FROM v_cells WHERE experiment = 'x'":                                                         cells,
		"SELECT * FROM v_seed_stats WHERE experiment = 'x' AND metric = 'y'":                                   cells,
		"SELECT * FROM v_deltas WHERE experiment = 'x' AND metric = 'y'":                                       cells,
		"SELECT * FROM v_cell_metrics WHERE experiment_id = (SELECT id FROM experiment WHERE name = 'x')":      cells,
		"SELECT top1 FROM v_predictions WHERE run_id = 'x' AND evaluation = 'y' AND target = 'z' AND step = 1": all,
	} {
		plan, err := db.Query(context.Background(), "EXPLAIN QUERY PLAN "+query)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Rows) == 0 {
			t.Errorf("%s: no plan", query)
		}
		for _, row := range plan.Rows {
			if regexp.MustCompile(never).MatchString(row[3].(string)) {
				t.Errorf("%s: %s", query, row[3])
			}
		}
	}
}

func TestFillMakesTheSameNumbersForTheSameSeed(t *testing.T) {
	var curves [2][]results.Point
	for i := range curves {
		db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := storetest.Fill(context.Background(), db, storetest.Size{Runs: 30, Metrics: 3, Points: 2, Seed: 7}, nil); err != nil {
			t.Fatal(err)
		}
		cells, err := db.Cells(context.Background(), storetest.Experiment(0))
		if err != nil {
			t.Fatal(err)
		}
		missing := 0
		for _, c := range cells {
			if !c.Planned {
				t.Errorf("cell %+v is not planned", c)
			}
			if c.RunID == "" {
				missing++
			}
		}
		if len(cells) != 31 || missing != 2 { // one failed and was made again; the last one is left out
			t.Errorf("%d cells of which %d have no run, want 31 and 2", len(cells), missing)
		}
		if curves[i], err = db.Curve(context.Background(), cells[8].RunID, storetest.Metric); err != nil {
			t.Fatal(err)
		}
	}
	if len(curves[0]) != 2 || !slices.Equal(curves[0], curves[1]) {
		t.Errorf("curves are %v, want the same two points twice", curves)
	}
}

// BenchmarkLarge asks what people ask of a large database; `make bench` says how.
func BenchmarkLarge(b *testing.B) {
	r := large(b)
	ctx := context.Background()
	experiment := storetest.Experiment(0)
	cells, err := r.Cells(ctx, experiment)
	if err != nil {
		b.Fatal(err)
	}
	run := cells[len(cells)/2].RunID
	rows := func(n int, err error) (int, error) { return n, err }
	for _, q := range []struct {
		name string
		ask  func() (int, error)
	}{
		{"cells", func() (int, error) { v, err := r.Cells(ctx, experiment); return rows(len(v), err) }},
		{"cell_values", func() (int, error) { v, err := r.CellValues(ctx, experiment); return rows(len(v), err) }},
		{"curve", func() (int, error) { v, err := r.Curve(ctx, run, storetest.Metric); return rows(len(v), err) }},
		{"outcomes", func() (int, error) { v, err := r.Outcomes(ctx, experiment, "emoji"); return rows(len(v), err) }},
		{"predictions", func() (int, error) {
			v, err := r.Predictions(ctx, run, "emoji", "label", -1)
			return rows(len(v), err)
		}},
		{"get", func() (int, error) { v, err := r.Get(ctx, run); return rows(len(v.Metrics), err) }},
		{"runs", func() (int, error) { v, err := r.Runs(ctx, store.Filter{}); return rows(len(v), err) }},
		{"leaderboard", func() (int, error) { v, err := r.Leaderboard(ctx, "", "", 0, 20); return rows(len(v), err) }},
		{"runs_20", func() (int, error) { v, err := r.Runs(ctx, store.Filter{Limit: 20}); return rows(len(v), err) }},
		{"runs_of_experiment", func() (int, error) {
			v, err := r.Runs(ctx, store.Filter{Experiment: experiment})
			return rows(len(v), err)
		}},
		{"seed_stats", func() (int, error) {
			t, err := r.Query(ctx, "SELECT * FROM v_seed_stats WHERE experiment = ? AND metric = ?", experiment, storetest.Metric)
			return rows(len(t.Rows), err)
		}},
		{"deltas", func() (int, error) {
			t, err := r.Query(ctx, "SELECT * FROM v_deltas WHERE experiment = ? AND metric = ?", experiment, storetest.Metric)
			return rows(len(t.Rows), err)
		}},
		{"first_step_to_reach", func() (int, error) {
			t, err := r.Query(ctx, "SELECT run_id, min(step) FROM v_metrics WHERE metric = ? AND value >= 0.4 GROUP BY run_id", storetest.Metric)
			return rows(len(t.Rows), err)
		}},
		{"params", func() (int, error) {
			t, err := r.Query(ctx, "SELECT run_id FROM v_params WHERE key = 'loss.plugin' AND value = 'loss-3'")
			return rows(len(t.Rows), err)
		}},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				n, err := q.ask()
				if err != nil {
					b.Fatal(err)
				}
				if n == 0 {
					b.Fatal("no rows")
				}
			}
		})
	}
}
