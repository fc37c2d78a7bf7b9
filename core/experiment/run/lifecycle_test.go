package run

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// A witness is a Watcher that keeps what it is told, and closes stop after a step.
type witness struct {
	Quiet
	began       []assemble.Summary
	steps       []int
	losses      []float64
	evaluated   []int
	checkpoints []int
	events      []string
	stopAfter   int // 0: never
	stop        chan struct{}
}

func newWitness(stopAfter int) *witness {
	return &witness{stopAfter: stopAfter, stop: make(chan struct{})}
}

func (w *witness) Began(b assemble.Summary) { w.began = append(w.began, b) }
func (w *witness) Step(r train.StepReport) {
	w.steps, w.losses = append(w.steps, r.Step), append(w.losses, r.Loss)
	if r.Step == w.stopAfter {
		close(w.stop)
	}
}
func (w *witness) Evaluated(step int, _ string, _ []clip.Metric) {
	w.evaluated = append(w.evaluated, step)
}
func (w *witness) Checkpointed(step int, _ string) { w.checkpoints = append(w.checkpoints, step) }
func (w *witness) Event(level, message string)     { w.events = append(w.events, level+": "+message) }

// detailOf reads the record of a run.
func detailOf(t *testing.T, l lab.Lab, id string) *store.RunDetail {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	d, err := r.Get(t.Context(), id)
	labtest.Must(t, err)
	return d
}

// lossesOf reads the recorded losses of a run, by step.
func lossesOf(t *testing.T, l lab.Lab, id string) (steps []int, values []float64) {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	points, err := r.Curve(t.Context(), id, "train/loss")
	labtest.Must(t, err)
	for _, p := range points {
		steps, values = append(steps, p.Step), append(values, float64(p.Value))
	}
	return steps, values
}

func TestARunIsRecorded(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	s := labtest.Spec(t, l)
	out, err := Start(t.Context(), l, s, nil, w)
	labtest.Must(t, err)
	if out.Status != clip.StatusDone || out.Result.Steps != 8 {
		t.Errorf("outcome %+v", out)
	}
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(w.steps, want) {
		t.Errorf("steps %v", w.steps)
	}
	if !slices.Equal(w.evaluated, []int{4, 8}) || !slices.Equal(w.checkpoints, []int{2, 4, 6, 8}) {
		t.Errorf("evaluated at %v, checkpoints at %v", w.evaluated, w.checkpoints)
	}
	if len(w.began) != 1 || w.began[0].ID != out.ID || w.began[0].Steps != 8 || w.began[0].StepsPerEpoch != 4 || w.began[0].Parameters() != 9 {
		t.Errorf("began with %+v", w.began)
	}
	d := detailOf(t, l, out.ID)
	if d.Status != string(clip.StatusDone) || d.Experiment != "tiny" || len(d.Plugins) != 5 {
		t.Errorf("recorded %s of %s with %d plugins", d.Status, d.Experiment, len(d.Plugins))
	}
	if steps, values := lossesOf(t, l, out.ID); !slices.Equal(steps, w.steps) || !slices.Equal(values, w.losses) {
		t.Errorf("recorded losses %v at %v, told %v", values, steps, w.losses)
	}
	for _, name := range []string{lab.SpecFile, lab.LogsDir, filepath.Join(lab.CheckpointsDir, "step-00000008")} {
		if _, err := os.Stat(filepath.Join(l.Dir(out.ID), name)); err != nil {
			t.Error(err)
		}
	}
}

// A run that is stopped has a checkpoint, and goes on from it to what an uninterrupted one gives.
func TestAStoppedRunIsResumedToTheSameNumbers(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l)
	whole, err := Start(t.Context(), l, s, nil, Quiet{})
	labtest.Must(t, err)
	_, want := lossesOf(t, l, whole.ID)

	w := newWitness(3)
	first, err := Start(t.Context(), l, labtest.Spec(t, l), w.stop, w)
	labtest.Must(t, err)
	if first.Status != clip.StatusInterrupted || first.Result.Steps != 3 || !slices.Contains(w.checkpoints, 3) {
		t.Fatalf("stopped: %+v, checkpoints %v", first, w.checkpoints)
	}
	w = newWitness(0)
	again, err := ResumeSpec(t.Context(), l, labtest.Spec(t, l), nil, w)
	labtest.Must(t, err)
	if again.ID != first.ID || again.Status != clip.StatusDone || w.began[0].FromStep != 3 || w.steps[0] != 4 {
		t.Errorf("resumed %s: %+v from step %d", first.ID, again, w.began[0].FromStep)
	}
	if _, got := lossesOf(t, l, again.ID); !slices.Equal(got, want) {
		t.Errorf("losses %v, of the uninterrupted run %v", got, want)
	}
}

func TestOnlyUnfinishedRunsAreResumed(t *testing.T) {
	l := labtest.New(t)
	if _, err := Resume(t.Context(), l, "", nil, Quiet{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("without runs: %v", err)
	}
	s := labtest.Spec(t, l, "train.max_steps=2")
	out, err := Start(t.Context(), l, s, nil, Quiet{})
	labtest.Must(t, err)
	if _, err := Resume(t.Context(), l, out.ID, nil, Quiet{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("of a run that is done: %v", err)
	}
	if _, err := ResumeSpec(t.Context(), l, s, nil, Quiet{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of a spec whose run is done: %v", err)
	}
	if _, err := Resume(t.Context(), l, "nosuchrun", nil, Quiet{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no run: %v", err)
	}
}

func TestAFailureIsRecordedAndResumed(t *testing.T) {
	l := labtest.New(t)
	stop := filepath.Join(t.TempDir(), "stop")
	labtest.Must(t, os.WriteFile(stop, nil, 0o644))
	s := labtest.Spec(t, l, "data.train.with.stop="+stop)
	out, err := Start(t.Context(), l, s, nil, Quiet{})
	if err == nil || out.Status != clip.StatusFailed || !strings.Contains(err.Error(), "is there") {
		t.Fatalf("got %+v, %v", out, err)
	}
	d := detailOf(t, l, out.ID)
	if d.Status != string(clip.StatusFailed) || d.Error == nil || !strings.Contains(d.Error.Message, "is there") {
		t.Errorf("recorded %s: %+v", d.Status, d.Error)
	}
	labtest.Must(t, os.Remove(stop))
	again, err := Resume(t.Context(), l, "", nil, Quiet{}) // the newest that failed
	labtest.Must(t, err)
	if again.ID != out.ID || again.Status != clip.StatusDone {
		t.Errorf("resumed %+v, want %s done", again, out.ID)
	}
}

// A cancelled run ends at once, as interrupted and without an error.
func TestACancelledRunIsInterrupted(t *testing.T) {
	l := labtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &canceller{cancel: cancel}
	out, err := Start(ctx, l, labtest.Spec(t, l, "train.max_steps=100000"), nil, w)
	if err != nil || out.Status != clip.StatusInterrupted {
		t.Errorf("got %+v, %v", out, err)
	}
	if d := detailOf(t, l, out.ID); d.Status != string(clip.StatusInterrupted) {
		t.Errorf("recorded %s", d.Status)
	}
}

type canceller struct {
	Quiet
	cancel func()
}

func (c *canceller) Step(train.StepReport) { c.cancel() }

// A trial that its sweep gave up is stopped for good, and the record says why.
func TestARunThatIsGivenUpSaysWhy(t *testing.T) {
	l, w := labtest.New(t), newWitness(2)
	s := labtest.Spec(t, l)
	used, err := l.Plugins(s)
	labtest.Must(t, err)
	db, err := l.Database()
	labtest.Must(t, err)
	defer db.Close()
	rec, err := db.Begin(t.Context(), assemble.Meta(s, used, "identity", 0))
	labtest.Must(t, err)
	a := Attempt{Spec: s, Record: rec, From: lab.Checkpoint{Step: -1}, Plugins: used, GivenUp: func() string { return "worse than the median" }}
	out, err := a.Do(t.Context(), l, w.stop, w)
	if err != nil || out.Status != clip.StatusStopped || out.Result.Steps != 2 {
		t.Errorf("got %+v, %v", out, err)
	}
	if d := detailOf(t, l, out.ID); d.Status != string(clip.StatusStopped) || d.Error == nil || !strings.Contains(d.Error.Message, "worse than the median") {
		t.Errorf("recorded %s: %+v", d.Status, d.Error)
	}
}

// The data of a run that goes on must be that which it began with.
func TestARunIsNotResumedOnOtherData(t *testing.T) {
	l, w := labtest.New(t), newWitness(3)
	file := filepath.Join(t.TempDir(), "data")
	labtest.Must(t, os.WriteFile(file, []byte("as it was"), 0o644))
	first, err := Start(t.Context(), l, labtest.Spec(t, l, "data.train.with.file="+file), w.stop, w)
	labtest.Must(t, err)
	labtest.Must(t, os.WriteFile(file, []byte("changed"), 0o644))
	_, err = Resume(t.Context(), l, first.ID, nil, Quiet{})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), store.DataRole) {
		t.Errorf("got %v", err)
	}
}

// What is wrong with the data is told once and recorded as facts.
func TestWhatIsWrongWithTheDataIsTold(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	s := labtest.Spec(t, l, "data.train.with.refused=4", "data.max_bad_share=0.5", "data.train.with.long=true",
		"eval[0].with.broken=3", "eval[0].max_bad_share=0.5")
	_, err := Start(t.Context(), l, s, nil, w)
	labtest.Must(t, err)
	all := strings.Join(w.events, "\n")
	for want, n := range map[string]int{
		"data.train: 4 of 36 records": 1,
		"eval[0] (dots): 1 of 8 samples (12.5 %) cannot be read and are left out of the figures, n = 7: 1 no picture; sample 3 (dot-3): no picture": 1,
		"4 of 36 records were refused":  1,
		"captions were cut to 6 tokens": 1,
	} {
		if got := strings.Count(all, want); got != n {
			t.Errorf("told %q %d times, want %d:\n%s", want, got, n, all)
		}
	}
}

// A run with a file that stands in for a plugin is tainted, says why, and counts in no table.
func TestARunWithAFileThatStandsInForAPluginIsTainted(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	mine := filepath.Join(t.TempDir(), "pull")
	self, err := os.Executable()
	labtest.Must(t, err)
	labtest.Must(t, os.Symlink(self, mine))
	l.Catalog.Dev = map[string]string{"losses/pull": mine}
	out, err := Start(t.Context(), l, labtest.Spec(t, l), nil, w)
	labtest.Must(t, err)
	d := detailOf(t, l, out.ID)
	if !d.Tainted || !strings.HasPrefix(d.Taint, mine+" stood in for losses/pull (") {
		t.Errorf("tainted %v: %s", d.Tainted, d.Taint)
	}
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], "warning: "+mine) || !strings.HasSuffix(w.events[0], "the run is tainted: it counts in no table") {
		t.Errorf("told %q", w.events)
	}
}
