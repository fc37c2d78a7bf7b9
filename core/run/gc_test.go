package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/store"
)

// gcLab is a lab with a database and the folders of runs, as runs leave them.
type gcLab struct {
	Lab
	t  *testing.T
	db *store.DB
}

func newGCLab(t *testing.T) *gcLab {
	dir := t.TempDir()
	l := &gcLab{Lab: Lab{DB: filepath.Join(dir, "results.db"), RunsDir: filepath.Join(dir, "runs")}, t: t}
	db, err := store.Open(l.DB)
	l.must(err)
	t.Cleanup(func() { db.Close() })
	l.db = db
	return l
}

func (l *gcLab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(fault.Format(err))
	}
}

// run records a run with checkpoints at steps 1 and 2, and ends it unless end is running.
func (l *gcLab) run(db *store.DB, identity string, end clip.Status) string {
	l.t.Helper()
	ctx := context.Background()
	rec, err := db.Begin(ctx, store.RunMeta{Experiment: "e", Identity: identity})
	l.must(err)
	l.must(rec.Metrics(1, []clip.Metric{{Name: "train/loss", Value: 1}}))
	l.must(rec.Predictions(1, "e", "label", []clip.Prediction{{Key: "key of " + identity}}))
	dir := l.Dir(rec.ID())
	for step := 1; step <= 2; step++ {
		l.must(rec.Checkpoint(step, l.folder(filepath.Join(dir, fmt.Sprintf("step-%08d", step)))))
	}
	l.folder(filepath.Join(dir, "logs"))
	l.must(os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte("name: e"), 0o644))
	l.must(rec.Flush(ctx))
	if end != clip.StatusRunning {
		l.must(rec.Finish(ctx, end, nil))
	}
	return rec.ID()
}

func (l *gcLab) folder(path string) string {
	l.t.Helper()
	l.must(os.MkdirAll(path, 0o755))
	l.must(os.WriteFile(filepath.Join(path, "state.json"), []byte("{}"), 0o644))
	return path
}

// age makes a folder look untouched for a day.
func (l *gcLab) age(dir string) {
	l.t.Helper()
	then := time.Now().Add(-24 * time.Hour)
	l.must(filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, then, then)
	}))
}

func (l *gcLab) garbage(o GCOptions) (all []Garbage, kinds []string) {
	l.t.Helper()
	all, err := l.Garbage(context.Background(), o)
	l.must(err)
	for _, g := range all {
		kinds = append(kinds, strings.TrimSpace(g.Kind+" "+g.RunID+" "+strings.TrimPrefix(filepath.Base(g.Path), ".")))
	}
	return all, kinds
}

func (l *gcLab) want(o GCOptions, want ...string) []Garbage {
	l.t.Helper()
	all, got := l.garbage(o)
	if !slices.Equal(got, want) {
		l.t.Errorf("garbage is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return all
}

func TestGarbageIsWhatNothingNeeds(t *testing.T) {
	l := newGCLab(t)
	done := l.run(l.db, "a", clip.StatusDone)
	l.folder(filepath.Join(l.Dir(done), "step-00000003.tmp"))
	failed := l.run(l.db, "b", clip.StatusFailed)
	running := l.run(l.db, "c", clip.StatusRunning)
	l.run(l.db, "d", clip.StatusInterrupted)

	// Of no run: only what looks like a run's folder, is old, and is not of another database.
	second, err := store.Open(filepath.Join(filepath.Dir(l.DB), "second.db"))
	l.must(err)
	defer second.Close()
	l.age(l.Dir(l.run(second, "x", clip.StatusDone)))
	third, err := store.Open(filepath.Join(t.TempDir(), "far.db"))
	l.must(err)
	defer third.Close()
	orphan, fresh, odd := l.run(third, "x", clip.StatusDone), l.run(third, "x", clip.StatusDone), l.run(third, "x", clip.StatusDone)
	l.age(l.Dir(orphan))
	l.must(os.WriteFile(filepath.Join(l.Dir(odd), "thesis.tex"), nil, 0o644))
	l.age(l.Dir(odd))
	l.age(l.folder(filepath.Join(l.RunsDir, "my-notes")))
	_ = fresh

	checkpoints := []string{"checkpoint " + done + " step-00000001", "checkpoint " + done + " step-00000003.tmp"}
	folder := "folder " + orphan + " " + orphan
	want := []string{checkpoints[0], checkpoints[1], folder}
	if orphan < done {
		want = []string{folder, checkpoints[0], checkpoints[1]}
	}
	l.want(GCOptions{FailedOlderThan: time.Hour}, want...)

	ctx := context.Background()
	time.Sleep(2 * time.Millisecond)
	all := l.want(GCOptions{FailedOlderThan: time.Millisecond}, append([]string{"run " + failed + " " + failed}, want...)...)
	c, err := l.Collect(ctx, all)
	l.must(err)
	if c.Deleted != 4 || len(c.Kept) != 0 || c.FileAfter > c.FileBefore {
		t.Errorf("collected %+v, want 4 deleted", c)
	}
	for dir, there := range map[string]bool{orphan: false, failed: false, odd: true, fresh: true, done: true, running + "/step-00000001": true,
		done + "/step-00000001": false, done + "/step-00000003.tmp": false, done + "/step-00000002": true, "my-notes": true} {
		if _, err := os.Stat(filepath.Join(l.RunsDir, dir)); (err == nil) != there {
			t.Errorf("%s is there: %v, want %v", dir, err == nil, there)
		}
	}
	kept, err := l.db.Checkpoints(ctx, done)
	l.must(err)
	if len(kept) != 1 || kept[0].Step != 2 {
		t.Errorf("recorded checkpoints of the done run: %+v", kept)
	}
	if _, err := l.db.Get(ctx, failed); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the failed run: %v", err)
	}
	sets, err := l.db.Query(ctx, "SELECT (SELECT count(*) FROM example_set), (SELECT count(*) FROM point), (SELECT count(*) FROM run)")
	l.must(err)
	if fmt.Sprint(sets.Rows[0]) != "[3 3 3]" {
		t.Errorf("example sets, points and runs left: %v, want 3 each", sets.Rows[0])
	}
	l.want(GCOptions{FailedOlderThan: time.Millisecond})
}

func TestGarbageOfSupersededRuns(t *testing.T) {
	l := newGCLab(t)
	first := l.run(l.db, "a", clip.StatusFailed)
	second := l.run(l.db, "a", clip.StatusDone)
	third := l.run(l.db, "a", clip.StatusDone)
	l.run(l.db, "a", clip.StatusInterrupted) // newer, but not done
	l.run(l.db, "b", clip.StatusFailed)      // nothing replaces it
	all, _ := l.garbage(GCOptions{Superseded: true, Experiment: "e"})
	if len(all) < 2 || all[0].RunID != first || all[1].RunID != second || all[0].Why != "superseded by "+third || all[1].Why != "superseded by "+third {
		t.Fatalf("garbage is %+v", all)
	}
	if _, err := l.Garbage(context.Background(), GCOptions{Superseded: true, Experiment: "nope"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no experiment: %v", err)
	}
	// A run that was resumed since the list was made stays.
	_, err := l.db.Resume(context.Background(), first, 1)
	l.must(err)
	c, err := l.Collect(context.Background(), all)
	l.must(err)
	if _, err := os.Stat(l.Dir(first)); err != nil || len(c.Kept) != 1 || !strings.Contains(c.Kept[0], "in progress") {
		t.Errorf("collected %+v, folder of the resumed run: %v", c, err)
	}
	if _, err := os.Stat(l.Dir(second)); err == nil {
		t.Error("the superseded run's folder is still there")
	}
}

func TestWeightsThatASpecNamesAreKept(t *testing.T) {
	l := newGCLab(t)
	done := l.run(l.db, "a", clip.StatusDone)
	_, err := l.db.Begin(context.Background(), store.RunMeta{Experiment: "e", Params: map[string]any{"init.weights": filepath.Join(l.Dir(done), "step-00000001")}})
	l.must(err)
	l.want(GCOptions{})
}

func TestCollectingGivesSpaceBack(t *testing.T) {
	l := newGCLab(t)
	ctx := context.Background()
	rec, err := l.db.Begin(ctx, store.RunMeta{Experiment: "e"})
	l.must(err)
	l.must(rec.Event("info", "long", strings.Repeat("long ", 100_000), ""))
	l.must(rec.Finish(ctx, clip.StatusFailed, nil))
	time.Sleep(2 * time.Millisecond)
	all := l.want(GCOptions{FailedOlderThan: time.Millisecond}, "run "+rec.ID())
	c, err := l.Collect(ctx, all)
	l.must(err)
	if c.FileAfter > 300_000 || c.FileBefore < 500_000 || len(c.Kept) != 0 {
		t.Errorf("collected %+v, want 500 kB less", c)
	}

	// Not while a run is in progress, which would wait.
	long := l.run(l.db, "b", clip.StatusRunning)
	rec, err = l.db.Begin(ctx, store.RunMeta{Experiment: "e", Spec: strings.Repeat("long ", 100_000)})
	l.must(err)
	l.must(rec.Finish(ctx, clip.StatusFailed, nil))
	l.must(l.db.DeleteRun(ctx, rec.ID()))
	c, err = l.Collect(ctx, nil)
	l.must(err)
	if len(c.Kept) != 1 || !strings.Contains(c.Kept[0], long) {
		t.Errorf("collected %+v while run %s is in progress", c, long)
	}
}
