package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/store"
)

// evaluations reads the curves and the last predictions that a run's evaluations gave.
func evaluations(t *testing.T, l lab.Lab, id string) (curves map[string][]results.Point, predictions []clip.Prediction) {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	curves = map[string][]results.Point{}
	for name := range detailOf(t, l, id).Metrics {
		if strings.HasPrefix(name, "eval/") {
			curves[name], err = r.Curve(t.Context(), id, name)
			labtest.Must(t, err)
		}
	}
	predictions, err = r.Predictions(t.Context(), id, "dots", "parity", 4)
	labtest.Must(t, err)
	return curves, predictions
}

func nothingWaits(t *testing.T, l lab.Lab, id string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(l.Dir(id), lab.EvaluationsDir)); !os.IsNotExist(err) {
		t.Errorf("parameters still wait to be evaluated (%v)", err)
	}
}

// Evaluations beside training have the bits of those that training waits for, at the steps that they are of, and the run is the same
// run.
func TestEvaluationsBesideTrainingAreTheSame(t *testing.T) {
	l := labtest.New(t)
	inline, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_every=2"), nil, Quiet{})
	labtest.Must(t, err)
	w := newWitness(0)
	beside, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_every=2", "train.eval_device=auto"), nil, w)
	labtest.Must(t, err)
	if beside.Status != clip.StatusDone || !slices.Equal(w.evaluated, []int{2, 4, 6, 8}) {
		t.Errorf("%+v, evaluated at %v", beside, w.evaluated)
	}
	wantCurves, wantPredictions := evaluations(t, l, inline.ID)
	curves, predictions := evaluations(t, l, beside.ID)
	if !reflect.DeepEqual(curves, wantCurves) || !reflect.DeepEqual(predictions, wantPredictions) || len(curves) < 5 {
		t.Errorf("beside training %v, in line %v", curves, wantCurves)
	}
	if a, b := detailOf(t, l, inline.ID), detailOf(t, l, beside.ID); a.Identity != b.Identity || len(b.Predictions) != 4 {
		t.Errorf("identity %s, in line %s; %d predictions", b.Identity, a.Identity, len(b.Predictions))
	}
	nothingWaits(t, l, beside.ID)
}

// cut ends a run in the midst of a step's evaluations, whatever is done by then.
type cut struct {
	*witness
	at  int
	end func()
}

func (c cut) Step(r train.StepReport) {
	c.witness.Step(r)
	if r.Step == c.at {
		c.end()
	}
}

// Whether a run is stopped or ended at once, no evaluation is lost or made twice over. With TANDEM_LONG=1 each comes after each step.
func TestEvaluationsBesideTrainingOutliveAStop(t *testing.T) {
	l := labtest.New(t)
	inline, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_every=2"), nil, Quiet{})
	labtest.Must(t, err)
	want, _ := evaluations(t, l, inline.ID)
	for i, at := range []int{2, 5, 8} {
		for k, atOnce := range []bool{true, false} {
			if i%2 != k && os.Getenv("TANDEM_LONG") == "" {
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			stop := make(chan struct{})
			end := func() { close(stop) }
			if atOnce {
				end = cancel
			}
			first, err := Start(ctx, l, labtest.Spec(t, l, "train.eval_every=2", "train.eval_device=auto"), stop, cut{newWitness(0), at, end})
			cancel()
			labtest.Must(t, err)
			if first.Status == clip.StatusInterrupted {
				again, err := Resume(t.Context(), l, first.ID, nil, Quiet{})
				labtest.Must(t, err)
				if again.Status != clip.StatusDone {
					t.Fatalf("resumed: %+v", again)
				}
			}
			if got, _ := evaluations(t, l, first.ID); !reflect.DeepEqual(got, want) {
				t.Errorf("ended after step %d (at once: %v): %v, want %v", at, atOnce, got, want)
			}
			nothingWaits(t, l, first.ID)
		}
	}
}

// Where the database is to be saved elsewhere, parameters wait until figures of theirs are saved.
func TestParametersStayUntilTheirFiguresAreSaved(t *testing.T) {
	l := labtest.New(t)
	full := errors.New("the disk is full")
	waiting := func() (names []string) {
		all, _ := filepath.Glob(filepath.Join(l.RunsDir, "*", lab.EvaluationsDir, "step-*"))
		for _, path := range all {
			names = append(names, filepath.Base(path))
		}
		return names
	}
	saves := 0
	l.Save = func(ctx context.Context) error {
		saves++
		if step := fmt.Sprintf("step-%08d", 4*saves); !slices.Contains(waiting(), step) {
			t.Errorf("save %d: %v wait, want %s", saves, waiting(), step)
		}
		r, err := store.OpenReader(l.DB)
		if err != nil {
			return err
		}
		defer r.Close()
		runs, err := r.Runs(ctx, store.Filter{})
		if err != nil {
			return err
		}
		if run, err := r.Get(ctx, runs[0].ID); err != nil || len(run.Predictions) != saves {
			t.Errorf("save %d: %+v, %v", saves, run, err)
		}
		if saves == 2 {
			return full
		}
		return nil
	}
	out, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_device=auto"), nil, Quiet{})
	if saves != 2 || out.Status != clip.StatusFailed || !errors.Is(err, full) || !slices.Equal(waiting(), []string{"step-00000008"}) {
		t.Errorf("%d saves, %+v, %v; %v wait", saves, out, err, waiting())
	}
}

func TestAnEvaluationBesideTrainingThatFailsFailsTheRun(t *testing.T) {
	l := labtest.New(t)
	out, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_device=auto", "eval.0.with.broken=1", "eval.0.max_bad_share=0"), nil, Quiet{})
	if out.Status != clip.StatusFailed || fault.KindOf(err) != fault.Corrupt || !strings.Contains(fault.Format(err), "eval[0].max_bad_share") {
		t.Errorf("%+v: %v", out, err)
	}
}
