package board_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/board"
	"tandem/core/results/store"
)

const top1 = "eval/emoji/top1"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// begin begins a run of 100 steps and records the first ones.
func begin(t *testing.T, db *store.DB, experiment, variant string, seed int64, steps int) *store.Run {
	t.Helper()
	r, err := db.Begin(t.Context(), store.RunMeta{Experiment: experiment, Metric: top1, Variant: variant, Seed: seed, Identity: variant + string(rune('0'+seed)),
		Params: map[string]any{"train": map[string]any{"batch_size": 64}}})
	must(t, err)
	must(t, r.SetFacts(map[string]any{"steps.total": int64(100)}))
	for s := 1; s <= steps; s++ {
		must(t, r.Metrics(s, []clip.Metric{{Name: "train/loss", Value: 1}, {Name: "train/samples_per_s", Value: 32}}))
	}
	return r
}

func cell(t *testing.T, b *board.Board, variant string, seed int64) board.Cell {
	t.Helper()
	for _, r := range b.Rows {
		for i, c := range r.Cells {
			if r.Variant == variant && b.Seeds[i] == seed {
				return c
			}
		}
	}
	t.Fatalf("no cell %s %d", variant, seed)
	return board.Cell{}
}

func TestABoardTellsHowEveryPlannedCellStands(t *testing.T) {
	db := open(t)
	var plan []store.Cell
	for _, v := range []string{"plain", "wide"} {
		for seed := range int64(4) {
			plan = append(plan, store.Cell{Variant: v, Seed: seed, Identity: v + string(rune('0'+seed))})
		}
	}
	must(t, db.Plan(t.Context(), store.Experiment{Name: "study", Metric: top1, Design: "grid", Baseline: "plain"}, append(plan, store.Cell{Variant: "again", Seed: 9})))
	done := begin(t, db, "study", "plain", 0, 100)
	must(t, done.Metrics(100, []clip.Metric{{Name: top1, Value: .5}}))
	must(t, done.Finish(t.Context(), clip.StatusDone, nil))
	must(t, begin(t, db, "study", "plain", 1, 10).Finish(t.Context(), clip.StatusFailed, errors.New("no room\nat all")))
	must(t, begin(t, db, "study", "plain", 2, 20).Finish(t.Context(), clip.StatusStopped, errors.New("median: 0.1 at step 20 is below 0.5")))
	must(t, begin(t, db, "study", "plain", 3, 30).Finish(t.Context(), clip.StatusInterrupted, nil))
	tainted := begin(t, db, "study", "wide", 0, 100)
	must(t, tainted.Taint("the data changed"))
	must(t, tainted.Finish(t.Context(), clip.StatusDone, nil))
	begin(t, db, "study", "wide", 1, 4)
	must(t, begin(t, db, "study", "of before", 1, 1).Finish(t.Context(), clip.StatusDone, nil))
	must(t, db.Close())

	r, err := store.OpenReader(db.Path())
	must(t, err)
	defer r.Close()
	b, err := board.Read(t.Context(), r, "study")
	must(t, err)
	if b.Cells != 9 || b.Missing != 8 || b.Unplanned != 1 || len(b.Rows) != 3 || len(b.Seeds) != 5 || !b.Rows[0].Baseline || b.Rows[1].Baseline {
		t.Errorf("%d cells, %d missing, %d not planned, rows %+v, seeds %v", b.Cells, b.Missing, b.Unplanned, b.Rows, b.Seeds)
	}
	if c := b.Rows[0].Cells[4]; c.State != "" {
		t.Errorf("plain has a cell under seed 9: %+v", c)
	}
	for _, want := range []struct {
		variant string
		seed    int64
		state   board.State
		note    string
		step    int64
	}{
		{"plain", 0, board.Done, "", 100},
		{"plain", 1, board.Failed, "no room", 10},
		{"plain", 2, board.Stopped, "median: 0.1 at step 20 is below 0.5", 20},
		{"plain", 3, board.Interrupted, "", 30},
		{"wide", 0, board.Tainted, "the data changed", 100},
		{"wide", 1, board.Running, "", 4},
		{"wide", 2, board.Waiting, "", 0},
	} {
		c := cell(t, b, want.variant, want.seed)
		if c.State != want.state || c.Note != want.note || c.Step != want.step || (c.Run == "") != (want.state == board.Waiting) || c.Silent {
			t.Errorf("%s %d: %+v, want %+v", want.variant, want.seed, c, want)
		}
		if (c.Remaining >= 0) != (want.state == board.Running) {
			t.Errorf("%s %d: %v remaining", want.variant, want.seed, c.Remaining)
		}
	}
	if v := cell(t, b, "plain", 0).Value; v == nil || *v != .5 {
		t.Errorf("value %v", v)
	}
	// 96 steps of 64 samples at 32 a second, less the time since the last sign of life.
	if c := cell(t, b, "wide", 1); c.Remaining > 192*time.Second || c.Remaining < 100*time.Second || c.Steps != 100 {
		t.Errorf("%v remaining of %d steps", c.Remaining, c.Steps)
	}
	if n := b.Counts[board.Waiting]; n != 3 {
		t.Errorf("%d cells wait", n)
	}
}

func TestABoardOfRunsWithoutASweepHasTheirCells(t *testing.T) {
	db := open(t)
	must(t, begin(t, db, "single", "", 3, 1).Finish(t.Context(), clip.StatusDone, nil))
	begin(t, db, "single", "", 4, 1)
	must(t, db.Close())
	r, err := store.OpenReader(db.Path())
	must(t, err)
	defer r.Close()
	b, err := board.Read(t.Context(), r, "single")
	must(t, err)
	if b.Cells != 2 || len(b.Rows) != 1 || b.Rows[0].Baseline || b.Counts[board.Running] != 1 {
		t.Errorf("%+v", b)
	}
	runs, err := board.Now(t.Context(), r)
	must(t, err)
	if len(runs) != 1 || runs[0].Experiment != "single" || runs[0].Seed != 4 || runs[0].Step != 1 || runs[0].Metric != top1 {
		t.Errorf("runs now: %+v", runs)
	}
	if _, err := board.Read(t.Context(), r, "singel"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an experiment that is not there: %v", err)
	}
}

// recorded is what a database would give of cells whose times a test chooses.
type recorded struct {
	experiment store.Experiment
	cells      []store.CellProgress
}

func (r recorded) Experiment(context.Context, string) (*store.Experiment, error) {
	return &r.experiment, nil
}

func (r recorded) CellsProgress(context.Context, string) ([]store.CellProgress, error) {
	return r.cells, nil
}

func (recorded) Running(context.Context) ([]store.RunProgress, error) { return nil, nil }

func planned(variant string, status clip.Status, p store.Progress) store.CellProgress {
	c := store.CellProgress{Cell: results.Cell{Variant: variant, Planned: true, Status: string(status), Done: status == clip.StatusDone}, Progress: p}
	if status != "" {
		c.RunID = variant
	}
	return c
}

func TestTheTimeLeftOfABoardFollowsThePaceOfItsRuns(t *testing.T) {
	now := time.Now()
	done := planned("a", clip.StatusDone, store.Progress{Session: now.Add(-20 * time.Minute), Ended: now.Add(-10 * time.Minute)}) // 10 min
	running := planned("b", clip.StatusRunning, store.Progress{Session: now.Add(-5 * time.Minute), Beat: now, Step: 50, Steps: 100, StepTime: time.Second})
	resumed := planned("b", clip.StatusRunning, store.Progress{Session: now.Add(-5 * time.Minute), Prior: time.Hour, Beat: now, Step: 50, Steps: 100, StepTime: time.Second})
	silent := planned("c", clip.StatusRunning, store.Progress{Session: now.Add(-time.Hour), Beat: now.Add(-30 * time.Minute), Step: 50, Steps: 100})
	begun := planned("c", clip.StatusRunning, store.Progress{Session: now, Beat: now})
	waiting := func(n string) store.CellProgress { return planned(n, "", store.Progress{}) }
	search := store.Experiment{Settings: store.Settings{Search: &store.Search{Trials: 3, Confirm: 2}}}
	point := func(c store.CellProgress) store.CellProgress { c.Phase = results.Searched; return c }
	for _, c := range []struct {
		name  string
		of    store.Experiment
		cells []store.CellProgress
		want  time.Duration // to the minute; -1: not known
	}{
		{"one that runs", store.Experiment{}, []store.CellProgress{running}, 5},
		{"one that was resumed", store.Experiment{}, []store.CellProgress{resumed}, 1},
		{"two wait behind one", store.Experiment{}, []store.CellProgress{done, running, waiting("x"), waiting("y")}, 25},
		{"two wait behind two", store.Experiment{}, []store.CellProgress{done, running, begun, waiting("x"), waiting("y")}, 20},
		{"what runs says how long others take", store.Experiment{}, []store.CellProgress{running, waiting("x")}, 15},
		{"nothing runs", store.Experiment{}, []store.CellProgress{done, waiting("x")}, -1},
		{"what runs is silent", store.Experiment{}, []store.CellProgress{done, silent, waiting("x")}, -1},
		{"nothing is known", store.Experiment{}, []store.CellProgress{begun}, -1},
		{"a search goes on after its points", search, []store.CellProgress{point(done), point(running)}, 55},
		{"a search that time ends", store.Experiment{Settings: store.Settings{Search: &store.Search{Hours: 1}}}, []store.CellProgress{point(done), point(running)}, -1},
	} {
		b, err := board.Read(t.Context(), recorded{c.of, c.cells}, "")
		must(t, err)
		if got := b.Remaining.Round(time.Minute); c.want >= 0 && got != c.want*time.Minute || c.want < 0 && b.Remaining >= 0 {
			t.Errorf("%s: %v left, want %d min", c.name, got, c.want)
		}
	}
}
