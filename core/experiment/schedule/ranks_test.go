package schedule

import (
	"errors"
	"sync"
	"testing"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
)

// A stop that another rank alone is given ends the sweep with the trial at hand: the ones after it are not begun.
func TestAStopOfAnotherRankEndsTheSweep(t *testing.T) {
	l := labtest.New(t)
	s := load(t, l, "train.max_steps=2")
	w, stop := &log{}, make(chan struct{})
	close(stop)
	errs := make([]error, 2)
	var all sync.WaitGroup
	for rank, g := range collective.Local(2) {
		all.Go(func() {
			mine := l
			if mine.Ranks, errs[rank] = lab.Gather(t.Context(), g); errs[rank] != nil {
				return
			}
			if rank > 0 {
				errs[rank] = run.Follow(t.Context(), mine, stop)
				return
			}
			out, err := Run(t.Context(), mine, s, Options{}, nil, w)
			if err != nil || !out.Interrupted || out.Count(Interrupted) != 1 || out.Count(Waiting) != len(s.Trials)-1 || len(w.notes) != 1 {
				t.Errorf("%+v, %v, told %q", out, err, w.notes)
			}
			errs[rank] = run.Dismiss(t.Context(), g)
		})
	}
	all.Wait()
	labtest.Must(t, errors.Join(errs...))
}
