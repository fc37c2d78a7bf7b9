package store

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results"
)

func claim(t *testing.T, db *DB, identity string, since time.Time) Claim {
	t.Helper()
	c, err := db.Claim(ctx, RunMeta{Experiment: "e", Variant: "v", Identity: identity}, ClaimOptions{Since: since,
		Newest: func(_ string, all []Checkpoint) (int, error) {
			if len(all) == 0 {
				return -1, nil
			}
			return all[0].Step, nil
		}})
	must(t, err)
	return c
}

func TestATrialIsMadeOnce(t *testing.T) {
	db := open(t)
	first := claim(t, db, "x", time.Time{})
	if first.Run == nil || first.Status != "" {
		t.Fatalf("a new trial gives %+v", first)
	}
	if held := claim(t, db, "x", time.Time{}); held.Run != nil || held.ID != first.ID || held.Status != clip.StatusRunning || held.Owner == "" {
		t.Errorf("one in progress gives %+v", held)
	}
	must(t, first.Run.Metrics(3, []clip.Metric{{Name: "a", Value: 1}}))
	must(t, first.Run.Checkpoint(3, "/dir"))
	must(t, first.Run.Metrics(4, []clip.Metric{{Name: "a", Value: 2}}))
	must(t, first.Run.Finish(ctx, clip.StatusFailed, fault.New(fault.PluginDied, "gone")))

	again := claim(t, db, "x", time.Time{})
	if again.Run == nil || !again.Resumed || again.ID != first.ID || again.Status != clip.StatusFailed || again.Checkpoints[0].Step != 3 {
		t.Fatalf("a failed one gives %+v", again)
	}
	must(t, again.Run.Finish(ctx, clip.StatusDone, nil))
	if final, err := db.Final(ctx, first.ID); err != nil || final["a"].LastStep != 3 {
		t.Errorf("what lies after the checkpoint is still there: %+v, %v", final, err)
	}
	if done := claim(t, db, "x", time.Time{}); done.Run != nil || done.Status != clip.StatusDone || done.ID != first.ID {
		t.Errorf("a done one gives %+v", done)
	}
	if rerun := claim(t, db, "x", time.Now().Add(time.Hour)); rerun.Run == nil || rerun.Resumed || rerun.ID == first.ID {
		t.Errorf("one that is to be made again gives %+v", rerun)
	}
}

func TestTwoRunnersClaimEveryTrialOnce(t *testing.T) {
	one := open(t)
	two, err := Open(one.path)
	must(t, err)
	defer two.Close()
	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for _, db := range []*DB{one, two} {
		for range 4 {
			wg.Go(func() {
				for i := range 50 {
					c, err := db.Claim(ctx, RunMeta{Experiment: "e", Identity: itoa(i)}, ClaimOptions{Newest: func(string, []Checkpoint) (int, error) { return -1, nil }})
					if err != nil {
						t.Error(err)
						return
					}
					if c.Run != nil {
						mu.Lock()
						taken[itoa(i)]++
						mu.Unlock()
						if err := c.Run.Finish(ctx, clip.StatusDone, nil); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range 50 {
		if taken[itoa(i)] != 1 {
			t.Errorf("trial %d was made %d times", i, taken[itoa(i)])
		}
	}
}

func TestAPlannedCellIsFilledByARunOfItsIdentity(t *testing.T) {
	db := open(t)
	e := Experiment{Name: "e", Baseline: "baseline", Metric: "eval/x/top1", Design: "grid", Noise: "again",
		Factors: []results.Factor{{Name: "pool", Levels: []string{"attention", "average"}}}}
	cells := []Cell{{Variant: "baseline", Seed: 1, Identity: "id-1", Levels: map[string]string{"pool": "attention"}}, {Variant: "pool=same", Seed: 1, Identity: "id-1"}, {Variant: "pool=average", Seed: 1, Identity: "id-2"}}
	must(t, db.Plan(ctx, Experiment{Name: "e"}, []Cell{{Variant: "retired"}}))
	must(t, db.Plan(ctx, e, cells))
	// Of another experiment, and under another name.
	r, err := db.Begin(ctx, RunMeta{Experiment: "other", Variant: "z", Identity: "id-1"})
	must(t, err)
	must(t, r.Metrics(1, []clip.Metric{{Name: "eval/x/top1", Value: 0.5}}))
	must(t, r.Finish(ctx, clip.StatusDone, nil))
	stopped, err := db.Begin(ctx, RunMeta{Experiment: "e", Variant: "pool=average", Seed: 1, Identity: "id-2"})
	must(t, err)
	must(t, stopped.Finish(ctx, clip.StatusStopped, fault.New(fault.Canceled, "below the median")))

	got, err := db.Experiment(ctx, "e")
	must(t, err)
	if diff := cmp.Diff(&e, got); diff != "" {
		t.Error(diff)
	}
	info, err := db.Cells(ctx, "e")
	must(t, err)
	want := []results.Cell{
		{Variant: "baseline", Seed: 1, Levels: map[string]string{"pool": "attention"}, Planned: true, Done: true, RunID: r.ID(), Status: "done"},
		{Variant: "pool=same", Seed: 1, Levels: map[string]string{}, Planned: true, Done: true, RunID: r.ID(), Status: "done"},
		{Variant: "pool=average", Seed: 1, Levels: map[string]string{}, Planned: true, RunID: stopped.ID(), Status: "stopped", Note: "below the median"},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	must(t, db.Check(ctx, Filter{Status: "stopped"}))
	if runs, err := db.Runs(ctx, Filter{Status: "stopped"}); err != nil || len(runs) != 1 || runs[0].ID != stopped.ID() {
		t.Errorf("stopped runs %+v, %v", runs, err)
	}
	values, err := db.CellValues(ctx, "e")
	must(t, err)
	if len(values) != 2 || values[0].Value != 0.5 {
		t.Errorf("values %+v", values)
	}
	_, err = db.Experiment(ctx, "ee")
	wantKind(t, err, fault.NotFound)
}

// Epochs of variants differ in length; a run that has not come so far has no such point, one that was stopped there has.
func TestTheFirstPointAfterSoManyEpochs(t *testing.T) {
	db := open(t)
	must(t, db.Plan(ctx, Experiment{Name: "e"}, []Cell{{Variant: "long", Seed: 1, Identity: "long"}, {Variant: "short", Seed: 1, Identity: "short"}, {Variant: "young", Seed: 1, Identity: "young"}}))
	for variant, epoch := range map[string]int{"long": 20, "short": 4, "young": 20} {
		r := begin(t, db, RunMeta{Experiment: "e", Variant: variant, Seed: 1, Identity: variant})
		must(t, r.SetFacts(map[string]any{"steps.epoch": int64(epoch)}))
		for step := 3; step <= 30 && (variant != "young" || step < 20); step += 3 {
			must(t, r.Metrics(step, []clip.Metric{{Name: "x", Value: float64(step)}, {Name: "other", Value: 1}}))
		}
		must(t, r.Finish(ctx, clip.StatusStopped, fault.New(fault.Canceled, "below the median")))
	}
	for _, c := range []struct {
		steps  int
		epochs float64
		want   []CellPoint
	}{
		{0, 1, []CellPoint{{"long", 1, results.Point{Step: 21, Value: 21}}, {"short", 1, results.Point{Step: 6, Value: 6}}}},
		{0, 0.25, []CellPoint{{"long", 1, results.Point{Step: 6, Value: 6}}, {"short", 1, results.Point{Step: 3, Value: 3}}, {"young", 1, results.Point{Step: 6, Value: 6}}}},
		{7, 0, []CellPoint{{"long", 1, results.Point{Step: 9, Value: 9}}, {"short", 1, results.Point{Step: 9, Value: 9}}, {"young", 1, results.Point{Step: 9, Value: 9}}}},
		{31, 0, nil},
	} {
		got, err := db.FirstPoints(ctx, "e", "x", c.steps, c.epochs)
		must(t, err)
		slices.SortFunc(got, func(a, b CellPoint) int { return strings.Compare(a.Variant, b.Variant) })
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("after %d steps, %g epochs: %s", c.steps, c.epochs, diff)
		}
	}
}

// A claimed run whose newest checkpoint turns out damaged goes back to the one before, as if it had been resumed there.
func TestARunGoesBackToAnEarlierCheckpoint(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{Identity: "i"})
	for step := 1; step <= 4; step++ {
		must(t, run.Metrics(step, []clip.Metric{{Name: "x", Value: float64(step)}}))
		must(t, run.Checkpoint(step, "dir"))
	}
	must(t, run.Metrics(4, []clip.Metric{{Name: "late", Value: 1}}))
	must(t, run.Finish(ctx, clip.StatusInterrupted, nil))
	c := claim(t, db, "i", time.Time{})
	must(t, c.Run.Rewind(ctx, 4)) // it is there already
	must(t, c.Run.Rewind(ctx, 2))
	must(t, c.Run.Metrics(3, []clip.Metric{{Name: "x", Value: 30}, {Name: "late", Value: 3}}))
	must(t, c.Run.Flush(ctx))
	d, err := db.Get(ctx, run.ID())
	must(t, err)
	if len(d.Checkpoints) != 2 || d.Metrics["x"].N != 3 || d.Metrics["x"].Last != 30 || d.Metrics["late"].N != 1 ||
		d.History[len(d.History)-1].Note != "went back to step 2" {
		t.Errorf("%+v", d)
	}
	checkSummaries(t, db)
}
