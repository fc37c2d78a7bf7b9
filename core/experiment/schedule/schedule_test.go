package schedule

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/sweep"
	"tandem/core/results/store"
)

// ablation adds two variants to the common spec, under two seeds.
const ablation = labtest.Text + `ablate:
  design: one-at-a-time
  baseline: {lr: slow}
  metric: eval/dots/top1
  seeds: [1, 2]
  factors:
    lr:
      slow: {train.lr: 0.01}
      fast: {train.lr: 0.1}
`

func load(t *testing.T, l lab.Lab, set ...string) *sweep.Sweep {
	t.Helper()
	s, err := Load(l, labtest.File(t, l, ablation), set)
	labtest.Must(t, err)
	return s
}

func TestASpecWithoutABlockIsASweepOfOne(t *testing.T) {
	l := labtest.New(t)
	s, err := Load(l, labtest.File(t, l, labtest.Text), []string{"train.max_steps=3"})
	labtest.Must(t, err)
	if s.Design != "" || len(s.Trials) != 1 || s.Base.Train.MaxSteps != 3 {
		t.Errorf("design %q, %d trials of %d steps", s.Design, len(s.Trials), s.Base.Train.MaxSteps)
	}
}

// A sweep makes the runs that are missing, and none twice.
func TestASweepMakesWhatIsMissing(t *testing.T) {
	l := labtest.New(t)
	s := load(t, l, "train.max_steps=2")
	w := &log{}
	out, err := Run(t.Context(), l, s, Options{}, nil, w)
	labtest.Must(t, err)
	if out.Interrupted || out.Count(Done) != len(s.Trials) || len(s.Trials) < 4 {
		t.Fatalf("%d trials: %+v", len(s.Trials), out)
	}
	var begun []int
	for i, x := range w.changes {
		if x.Status == Running {
			begun = append(begun, w.trials[i])
		}
	}
	if !slices.Equal(begun, BySeed(s.Trials)) {
		t.Errorf("begun in the order %v, want %v", begun, BySeed(s.Trials))
	}
	again, err := Run(t.Context(), l, load(t, l, "train.max_steps=2"), Options{}, nil, &log{})
	labtest.Must(t, err)
	for i, x := range again.States {
		if x.Status != Done || !x.Before || x.RunID != out.States[i].RunID {
			t.Errorf("trial %d again: %+v, want run %s", i, x, out.States[i].RunID)
		}
	}
	anew, err := Run(t.Context(), l, load(t, l, "train.max_steps=2"), Options{Rerun: true, Jobs: 2}, nil, &log{})
	labtest.Must(t, err)
	for i, x := range anew.States {
		if x.Status != Done || x.Before || x.RunID == out.States[i].RunID {
			t.Errorf("trial %d with rerun: %+v", i, x)
		}
	}
}

// stopper closes a channel when the first trial is about to start.
type stopper struct {
	log
	stop chan struct{}
}

func (s *stopper) Trial(int) run.Watcher {
	close(s.stop)
	return run.Quiet{}
}

func TestAStoppedSweepGoesOn(t *testing.T) {
	l := labtest.New(t)
	w := &stopper{stop: make(chan struct{})}
	out, err := Run(t.Context(), l, load(t, l, "train.max_steps=20"), Options{}, w.stop, w)
	labtest.Must(t, err)
	if !out.Interrupted || out.Count(Interrupted) != 1 || out.Count(Done) != 0 {
		t.Fatalf("stopped: %+v", out)
	}
	again, err := Run(t.Context(), l, load(t, l, "train.max_steps=20"), Options{}, nil, &log{})
	labtest.Must(t, err)
	if again.Interrupted || again.Count(Done) != len(again.States) {
		t.Fatalf("again: %+v", again)
	}
	for i, x := range out.States {
		if x.Status == Interrupted && (again.States[i].RunID != x.RunID || !again.States[i].Resumed) {
			t.Errorf("trial %d was interrupted as %s and is %+v", i, x.RunID, again.States[i])
		}
	}
}

// A trial that fails does not keep the others from being made.
func TestTheOthersGoOn(t *testing.T) {
	l := labtest.New(t)
	stop := filepath.Join(t.TempDir(), "stop")
	labtest.Must(t, os.WriteFile(stop, nil, 0o644))
	text := strings.Replace(ablation, "fast: {train.lr: 0.1}", "fast: {data.train.with.stop: "+stop+"}", 1) + "  retries: 0\n"
	s, err := Load(l, labtest.File(t, l, text), []string{"train.max_steps=2"})
	labtest.Must(t, err)
	out, err := Run(t.Context(), l, s, Options{}, nil, &log{})
	labtest.Must(t, err)
	for i, trial := range s.Trials {
		want := Done
		if strings.Contains(trial.Cells[0].Variant, "fast") {
			want = Failed
		}
		if out.States[i].Status != want {
			t.Errorf("%s, seed %d: %+v, want %s", trial.Cells[0].Variant, trial.Seed, out.States[i], want)
		}
	}
	if err := out.Failure(s); err == nil || !strings.Contains(err.Error(), "is there") {
		t.Errorf("the failure is %v", err)
	}
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	cells, err := r.Cells(t.Context(), "tiny")
	labtest.Must(t, err)
	if len(cells) != len(s.Trials) {
		t.Errorf("%d cells are planned, want %d", len(cells), len(s.Trials))
	}
}
