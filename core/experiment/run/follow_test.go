package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/fault"
)

// ranks calls lead on rank 0 of a group, with the laboratory of each rank as change leaves it, while the others follow, and returns
// what these return.
func ranks(t *testing.T, l lab.Lab, size int, change func(rank int, l *lab.Lab), lead func(lab.Lab)) []error {
	t.Helper()
	errs := make([]error, size)
	var all sync.WaitGroup
	for rank, g := range collective.Local(size) {
		all.Go(func() {
			mine := l
			var err error
			if mine.Ranks, err = lab.Gather(t.Context(), g); err != nil {
				errs[rank] = err
				return
			}
			if change != nil {
				change(rank, &mine)
			}
			if rank == 0 {
				lead(mine)
				errs[rank] = Dismiss(t.Context(), g)
				return
			}
			errs[rank] = Follow(t.Context(), mine, nil)
		})
	}
	all.Wait()
	return errs
}

// Ranks make runs together, one after another, with the numbers of one rank, and say so.
func TestRanksMakeARunTogether(t *testing.T) {
	l := labtest.New(t)
	alone, err := Start(t.Context(), l, labtest.Spec(t, l, "train.micro_batch_size=2"), nil, Quiet{})
	labtest.Must(t, err)
	_, want := lossesOf(t, l, alone.ID)
	var outs []Outcome
	errs := ranks(t, l, 2, nil, func(l lab.Lab) {
		for range 2 {
			out, err := Start(t.Context(), l, labtest.Spec(t, l, "train.micro_batch_size=2"), nil, Quiet{})
			if err != nil {
				t.Error(fault.Format(err))
			}
			outs = append(outs, out)
		}
	})
	labtest.Must(t, errors.Join(errs...))
	figures := func(id string) map[string]float64 {
		values := map[string]float64{}
		for name, m := range detailOf(t, l, id).Metrics {
			if strings.HasPrefix(name, "eval/") {
				values[name] = float64(m.Last)
			}
		}
		return values
	}
	for _, out := range outs {
		if out.Status != clip.StatusDone {
			t.Fatalf("outcome %+v", out)
		}
		if _, got := lossesOf(t, l, out.ID); !slices.EqualFunc(got, want, near) {
			t.Errorf("losses %v, of one rank %v", got, want)
		}
		d := detailOf(t, l, out.ID)
		if d.Facts[factRanks] != int64(2) || d.Facts[factHosts] != collective.Host()+" (2 ranks)" || d.Facts[factSent].(int64) < 1 {
			t.Errorf("facts %v", d.Facts)
		}
		got, want := figures(out.ID), figures(alone.ID)
		if len(want) == 0 || len(got) != len(want) {
			t.Errorf("evaluated to %v, by one rank to %v", got, want)
		}
		for name, v := range want {
			if !near(got[name], v) {
				t.Errorf("%s is %g, by one rank %g", name, got[name], v)
			}
		}
		if _, err := os.Stat(filepath.Join(l.Dir(out.ID), RanksDir, "1", lab.LogsDir)); err != nil {
			t.Error(err)
		}
	}
}

// near compares figures that differ in the order of their sums.
func near(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }

// What one rank alone lacks is the error of the run, with rank and host, and the ranks go on with the next run.
func TestAFaultOfOneRankIsThatOfTheRun(t *testing.T) {
	l := labtest.New(t)
	other := filepath.Join(t.TempDir(), "pull")
	code, err := os.ReadFile(labtest.SecondPull(t))
	labtest.Must(t, err)
	labtest.Must(t, os.WriteFile(other, code, 0o755))
	for name, x := range map[string]struct {
		change func(l *lab.Lab)
		want   []string
	}{
		"a plugin is missing": {func(l *lab.Lab) { l.Catalog.Roots = []string{t.TempDir()} }, []string{"rank 1 on " + collective.Host(), "tint"}},
		"a plugin is another": {func(l *lab.Lab) { l.Catalog.Dev = map[string]string{"losses/pull": other} }, []string{"rank 1 on " + collective.Host(), "losses/pull", "loss is another plugin here"}},
	} {
		t.Run(name, func(t *testing.T) {
			errs := ranks(t, l, 2, func(rank int, l *lab.Lab) {
				catalog := *l.Catalog
				if l.Catalog = &catalog; rank == 1 {
					x.change(l)
				}
			}, func(l lab.Lab) {
				for range 2 {
					out, err := Start(t.Context(), l, labtest.Spec(t, l), nil, Quiet{})
					if err == nil || out.Status != clip.StatusFailed {
						t.Errorf("outcome %+v, %v", out, err)
						continue
					}
					for _, part := range x.want {
						if !strings.Contains(err.Error(), part) {
							t.Errorf("%q does not say %q", err, part)
						}
					}
				}
			})
			labtest.Must(t, errors.Join(errs...))
		})
	}
}

// A batch that the ranks cannot share is refused before anything is recorded.
func TestABatchThatRanksCannotShareIsRefused(t *testing.T) {
	l := labtest.New(t)
	errs := ranks(t, l, 3, nil, func(l lab.Lab) {
		out, err := Start(t.Context(), l, labtest.Spec(t, l), nil, Quiet{})
		if fault.KindOf(err) != fault.Invalid || out.ID != "" {
			t.Errorf("outcome %+v, %v", out, err)
		}
	})
	labtest.Must(t, errors.Join(errs...))
}

// A stop of any rank ends the run on all, with a checkpoint, from which it goes on to the same numbers; on another number of ranks it says
// so.
func TestRanksStopTogetherAndGoOn(t *testing.T) {
	l := labtest.New(t)
	alone, err := Start(t.Context(), l, labtest.Spec(t, l), nil, Quiet{})
	labtest.Must(t, err)
	_, want := lossesOf(t, l, alone.ID)
	var id string
	errs := ranks(t, l, 2, nil, func(l lab.Lab) {
		w := newWitness(3)
		out, err := Start(t.Context(), l, labtest.Spec(t, l), w.stop, w)
		if err != nil || out.Status != clip.StatusInterrupted || out.Result.Steps < 3 || out.Result.CheckpointDir == "" {
			t.Errorf("stopped: %+v, %v", out, err)
		}
		id = out.ID
	})
	labtest.Must(t, errors.Join(errs...))
	errs = ranks(t, l, 2, nil, func(l lab.Lab) {
		w := newWitness(5)
		out, err := Resume(t.Context(), l, id, w.stop, w)
		if err != nil || out.Status != clip.StatusInterrupted || len(w.events) > 0 {
			t.Errorf("resumed on as many: %+v, %v, told %q", out, err, w.events)
		}
	})
	labtest.Must(t, errors.Join(errs...))
	w := newWitness(0)
	out, err := Resume(t.Context(), l, id, nil, w)
	labtest.Must(t, err)
	if out.Status != clip.StatusDone || len(w.events) != 1 || !strings.HasPrefix(w.events[0], "warning: resumed on 1 rank at step ") {
		t.Errorf("resumed on one: %+v, told %q", out, w.events)
	}
	if _, got := lossesOf(t, l, id); !slices.EqualFunc(got, want, near) {
		t.Errorf("losses %v, of one rank %v", got, want)
	}
	if d := detailOf(t, l, id); d.Facts[factRanks] != int64(1) || !strings.HasPrefix(d.Facts[factHistory].(string), "2 until step ") || d.Tainted {
		t.Errorf("facts %v, tainted %v", d.Facts, d.Tainted)
	}
}

// When a rank is gone the run fails with that as its cause.
func TestARankThatIsGoneIsTheCause(t *testing.T) {
	l := labtest.New(t)
	gone := errors.New("its machine is off")
	errs := ranks(t, l, 2, nil, func(l lab.Lab) {
		w := newWitness(2)
		go func() {
			<-w.stop
			l.Group.Abort(gone)
		}()
		out, err := Start(context.Background(), l, labtest.Spec(t, l, "train.max_steps=100000"), nil, w)
		if err == nil || out.Status != clip.StatusFailed || !strings.Contains(err.Error(), gone.Error()) {
			t.Errorf("outcome %+v, %v", out, err)
		}
		if d := detailOf(t, l, out.ID); d.Error == nil || !strings.Contains(d.Error.Message, gone.Error()) {
			t.Errorf("recorded %+v", d.Error)
		}
	})
	for rank, err := range errs {
		if err == nil {
			t.Errorf("rank %d ended without an error", rank)
		}
	}
}

// Ranks agree at the end of a run that has a device for evaluations and none to make.
func TestRanksNeedNoEvaluationForTheirDevice(t *testing.T) {
	l := labtest.New(t)
	errs := ranks(t, l, 2, nil, func(l lab.Lab) {
		out, err := Start(t.Context(), l, labtest.Spec(t, l, "train.eval_device=auto", "eval=[]"), nil, Quiet{})
		if err != nil || out.Status != clip.StatusDone {
			t.Errorf("outcome %+v, %v", out, err)
		}
	})
	labtest.Must(t, errors.Join(errs...))
}
