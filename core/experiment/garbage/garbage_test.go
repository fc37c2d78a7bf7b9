package garbage

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
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// A fixture holds a lab with a database and the folders of runs, as runs leave them.
type fixture struct {
	lab.Lab
	t  *testing.T
	db *store.DB
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	l := &fixture{Lab: lab.Lab{DB: filepath.Join(dir, "results.db"), RunsDir: filepath.Join(dir, "runs")}, t: t}
	db, err := store.Open(l.DB)
	l.must(err)
	t.Cleanup(func() { db.Close() })
	l.db = db
	return l
}

func (l *fixture) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(fault.Format(err))
	}
}

// run records a run with checkpoints at steps 1 and 2, and ends it unless end is running.
func (l *fixture) run(db *store.DB, identity string, end clip.Status) string {
	l.t.Helper()
	ctx := context.Background()
	rec, err := db.Begin(ctx, store.RunMeta{Experiment: "e", Identity: identity})
	l.must(err)
	l.must(rec.Metrics(1, []clip.Metric{{Name: "train/loss", Value: 1}}))
	l.must(rec.Predictions(1, "e", "label", []clip.Prediction{{Key: "key of " + identity}}))
	dir := l.Dir(rec.ID())
	for step := 1; step <= 2; step++ {
		l.must(rec.Checkpoint(step, l.checkpoint(rec.ID(), step)))
	}
	l.folder(filepath.Join(dir, "logs"))
	l.must(os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte("name: e"), 0o644))
	l.must(rec.Flush(ctx))
	if end != clip.StatusRunning {
		l.must(rec.Finish(ctx, end, nil))
	}
	return rec.ID()
}

// checkpoint writes one as training does.
func (l *fixture) checkpoint(id string, step int) string {
	l.t.Helper()
	path, err := train.WriteCheckpoint(context.Background(), filepath.Join(l.Dir(id), lab.CheckpointsDir), train.Parts{Image: tower{}, Text: tower{}, Loss: loss{}},
		train.State{Step: step, Run: id})
	l.must(err)
	return path
}

// tower and loss save what checkpoints need of plugins.
type (
	tower struct{ clip.Encoder }
	loss  struct{ clip.Loss }
)

func (tower) Save(_ context.Context, path string) error {
	return os.WriteFile(path, []byte("weights"), 0o644)
}
func (loss) Save(_ context.Context, path string) error {
	return os.WriteFile(path, []byte("weights"), 0o644)
}

func (l *fixture) folder(path string) string {
	l.t.Helper()
	l.must(os.MkdirAll(path, 0o755))
	l.must(os.WriteFile(filepath.Join(path, "state.json"), []byte("{}"), 0o644))
	return path
}

// age makes a folder look untouched for a day.
func (l *fixture) age(dir string) {
	l.t.Helper()
	then := time.Now().Add(-24 * time.Hour)
	l.must(filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, then, then)
	}))
}

func (l *fixture) garbage(o Options) (all []Item, kinds []string) {
	l.t.Helper()
	all, err := Find(context.Background(), l.Lab, o)
	l.must(err)
	for _, g := range all {
		kinds = append(kinds, strings.TrimSpace(g.Kind+" "+g.RunID+" "+strings.TrimPrefix(filepath.Base(g.Path), ".")))
	}
	return all, kinds
}

func (l *fixture) want(o Options, want ...string) []Item {
	l.t.Helper()
	all, got := l.garbage(o)
	if !slices.Equal(got, want) {
		l.t.Errorf("garbage is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return all
}

func TestGarbageIsWhatNothingNeeds(t *testing.T) {
	l := newFixture(t)
	done := l.run(l.db, "a", clip.StatusDone)
	l.folder(filepath.Join(l.Dir(done), "checkpoints/step-00000003.tmp"))
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
	l.want(Options{FailedOlderThan: time.Hour}, want...)

	ctx := context.Background()
	time.Sleep(2 * time.Millisecond)
	all := l.want(Options{FailedOlderThan: time.Millisecond}, append([]string{"run " + failed + " " + failed}, want...)...)
	c, err := Collect(ctx, l.Lab, all)
	l.must(err)
	if c.Deleted != 4 || len(c.Kept) != 0 || c.FileAfter > c.FileBefore {
		t.Errorf("collected %+v, want 4 deleted", c)
	}
	for dir, there := range map[string]bool{orphan: false, failed: false, odd: true, fresh: true, done: true, running + "/checkpoints/step-00000001": true,
		done + "/checkpoints/step-00000001": false, done + "/checkpoints/step-00000003.tmp": false, done + "/checkpoints/step-00000002": true, "my-notes": true} {
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
	l.want(Options{FailedOlderThan: time.Millisecond})
}

func TestGarbageOfSupersededRuns(t *testing.T) {
	l := newFixture(t)
	first := l.run(l.db, "a", clip.StatusFailed)
	second := l.run(l.db, "a", clip.StatusDone)
	third := l.run(l.db, "a", clip.StatusDone)
	l.run(l.db, "a", clip.StatusInterrupted) // newer, but not done
	l.run(l.db, "b", clip.StatusFailed)      // nothing replaces it
	all, _ := l.garbage(Options{Superseded: true, Experiment: "e"})
	if len(all) < 2 || all[0].RunID != first || all[1].RunID != second || all[0].Why != "superseded by "+third || all[1].Why != "superseded by "+third {
		t.Fatalf("garbage is %+v", all)
	}
	if _, err := Find(context.Background(), l.Lab, Options{Superseded: true, Experiment: "nope"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no experiment: %v", err)
	}
	// A run that was resumed since the list was made stays.
	_, err := l.db.Resume(context.Background(), first, 1)
	l.must(err)
	c, err := Collect(context.Background(), l.Lab, all)
	l.must(err)
	if _, err := os.Stat(l.Dir(first)); err != nil || len(c.Kept) != 1 || !strings.Contains(c.Kept[0], "in progress") {
		t.Errorf("collected %+v, folder of the resumed run: %v", c, err)
	}
	if _, err := os.Stat(l.Dir(second)); err == nil {
		t.Error("the superseded run's folder is still there")
	}
}

func TestWeightsThatASpecNamesAreKept(t *testing.T) {
	l := newFixture(t)
	done := l.run(l.db, "a", clip.StatusDone)
	taught := l.run(l.db, "b", clip.StatusDone)
	for key, id := range map[string]string{"init.weights": done, "teacher.init.weights": taught} {
		_, err := l.db.Begin(context.Background(), store.RunMeta{Experiment: "e", Params: map[string]any{key: filepath.Join("..", "there", id, "checkpoints", "step-00000001", "image.safetensors")}})
		l.must(err)
	}
	l.want(Options{})
}

func TestCollectingGivesSpaceBack(t *testing.T) {
	l := newFixture(t)
	ctx := context.Background()
	rec, err := l.db.Begin(ctx, store.RunMeta{Experiment: "e"})
	l.must(err)
	l.must(rec.Event("info", "long", strings.Repeat("long ", 100_000), ""))
	l.must(rec.Finish(ctx, clip.StatusFailed, nil))
	time.Sleep(2 * time.Millisecond)
	all := l.want(Options{FailedOlderThan: time.Millisecond}, "run "+rec.ID())
	c, err := Collect(ctx, l.Lab, all)
	l.must(err)
	if c.FileAfter > 300_000 || c.FileBefore < 500_000 || len(c.Kept) != 0 {
		t.Errorf("collected %+v, want 500 kB less", c)
	}

	// While a run is in progress too, which does not wait for long.
	long := l.run(l.db, "b", clip.StatusRunning)
	rec, err = l.db.Begin(ctx, store.RunMeta{Experiment: "e", Spec: strings.Repeat("long ", 100_000)})
	l.must(err)
	l.must(rec.Finish(ctx, clip.StatusFailed, nil))
	l.must(l.db.DeleteRun(ctx, rec.ID()))
	c, err = Collect(ctx, l.Lab, nil)
	l.must(err)
	if len(c.Kept) != 0 || c.FileAfter > 300_000 {
		t.Errorf("collected %+v while run %s is in progress", c, long)
	}
}

// Whatever a database says, nothing outside --runs-dir is deleted, through ids, names or links.
func TestNothingOutsideTheRunsFolderIsDeleted(t *testing.T) {
	l := newFixture(t)
	ctx := context.Background()
	outside := t.TempDir()
	thesis := filepath.Join(outside, "step-00000001", "thesis.tex")
	l.must(os.MkdirAll(filepath.Dir(thesis), 0o755))
	l.must(os.WriteFile(thesis, nil, 0o644))
	precious := l.folder(filepath.Join(filepath.Dir(l.RunsDir), "precious"))

	// The folders of runs, or of their checkpoints, are links to elsewhere.
	linked, within := l.run(l.db, "a", clip.StatusFailed), l.run(l.db, "b", clip.StatusDone)
	l.must(os.RemoveAll(l.Dir(linked)))
	l.must(os.Symlink(outside, l.Dir(linked)))
	l.must(os.RemoveAll(filepath.Join(l.Dir(within), lab.CheckpointsDir)))
	l.must(os.Symlink(outside, filepath.Join(l.Dir(within), lab.CheckpointsDir)))
	// Ids that are none, as an edited database has.
	for _, id := range []string{"../precious", precious, "..", ".", "", "1AAAAAAAAA", "1aaaaaaaa/"} {
		if dir := l.Dir(id); dir != "" {
			t.Errorf("the folder of %q is %s", id, dir)
		}
	}
	time.Sleep(2 * time.Millisecond)
	all, _ := l.garbage(Options{FailedOlderThan: time.Millisecond})
	all = append(all, Item{Kind: Folder, Path: precious}, Item{Kind: Folder, Path: filepath.Join(l.RunsDir, "..", "precious")},
		Item{Kind: Folder, Path: l.RunsDir}, Item{Kind: Checkpoint, RunID: within, Path: filepath.Join(l.Dir(within), lab.CheckpointsDir, "step-00000001")})
	c, err := Collect(ctx, l.Lab, all)
	l.must(err)
	for _, path := range []string{thesis, precious, l.RunsDir} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%v; collected %+v", err, c)
		}
	}
	if len(c.Kept) < 4 {
		t.Errorf("kept %q", c.Kept)
	}
}

// A collection that was ended at any point is completed by the next, and two at once do not disturb each other.
func TestACollectionThatWasEndedIsCompleted(t *testing.T) {
	l := newFixture(t)
	ctx := context.Background()
	// The record is gone, the folder is not, or only in part.
	marked, going := l.run(l.db, "a", clip.StatusFailed), l.run(l.db, "b", clip.StatusFailed)
	l.must(os.WriteFile(filepath.Join(l.Dir(marked), goingFile), nil, 0o644))
	l.must(os.Remove(filepath.Join(l.Dir(marked), "spec.yaml")))
	l.must(os.Rename(l.Dir(going), filepath.Join(l.RunsDir, goingPrefix+going)))
	for _, id := range []string{marked, going} {
		l.must(l.db.DeleteRun(ctx, id))
	}
	all, _ := l.garbage(Options{})
	if len(all) < 2 {
		t.Fatalf("garbage is %+v", all)
	}
	other := append([]Item(nil), all...)
	first, err := Collect(ctx, l.Lab, all)
	l.must(err)
	second, err := Collect(ctx, l.Lab, other)
	l.must(err)
	if len(first.Kept)+len(second.Kept) > 0 {
		t.Errorf("kept %q, %q", first.Kept, second.Kept)
	}
	for _, name := range []string{marked, goingPrefix + going} {
		if exists(filepath.Join(l.RunsDir, name)) {
			t.Errorf("%s is left", name)
		}
	}
	l.want(Options{})
}
