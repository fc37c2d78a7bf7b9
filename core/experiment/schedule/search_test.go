package schedule

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/propose"
	"tandem/core/experiment/run"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/store"
)

// searched12 asks for a search of 12 points, so that the last ones follow from the results, and for two seeds to confirm it.
const searched12 = labtest.Text + `ablate:
  design: search
  budget: {trials: 12}
  confirm: {seeds: 2}
  metric: eval/dots/top1
  factors:
    lr: {key: train.lr, log_range: [1e-4, 1]}
    decay: {key: train.weight_decay, range: [0.0, 0.5], when: {schedule: constant}}
    schedule: {key: train.schedule, choices: [constant, cosine]}
`

func loadSearch(t *testing.T, l lab.Lab, text string, set ...string) *sweep.Sweep {
	t.Helper()
	s, err := Load(l, labtest.File(t, l, text), append(set, "train.max_steps=2"))
	labtest.Must(t, err)
	return s
}

// levelsOf writes the trials of a sweep with their levels, sorted.
func levelsOf(s *sweep.Sweep) (list []string) {
	for _, t := range s.Trials {
		list = append(list, fmt.Sprint(t.Cells[0].Variant, " ", t.Seed, " ", t.Cells[0].Levels, " ", t.Identity))
	}
	slices.Sort(list)
	return list
}

// stopAfter closes a channel when trial n is about to start.
type stopAfter struct {
	log
	left int
	stop chan struct{}
}

func (s *stopAfter) Trial(int) run.Watcher {
	if s.left--; s.left == 0 {
		close(s.stop)
	}
	return run.Quiet{}
}

func TestASearchThatIsStoppedAgainAndAgainTriesTheSamePoints(t *testing.T) {
	whole := labtest.New(t)
	s, w := loadSearch(t, whole, searched12), &log{}
	out, err := Run(t.Context(), whole, s, Options{}, nil, w)
	labtest.Must(t, err)
	if out.Interrupted || out.Count(Done) != 16 || len(s.Search.Points) != 12 || len(w.added) != 14 || len(w.best) == 0 {
		t.Fatalf("%d done, %d points, added %v, best %v", out.Count(Done), len(s.Search.Points), w.added, w.best)
	}
	l := labtest.New(t)
	l.Catalog = whole.Catalog
	for range 3 {
		w := &stopAfter{left: 5, stop: make(chan struct{})}
		_, err := Run(t.Context(), l, loadSearch(t, l, searched12), Options{}, w.stop, w)
		labtest.Must(t, err)
	}
	again := loadSearch(t, l, searched12)
	out, err = Run(t.Context(), l, again, Options{}, nil, &log{})
	labtest.Must(t, err)
	if out.Count(Done) != 16 || !slices.Equal(levelsOf(s), levelsOf(again)) {
		t.Errorf("without a stop\n%q\nwith three\n%q", levelsOf(s), levelsOf(again))
	}
}

func TestTheDatabaseTellsPointsFromWhatConfirmsThem(t *testing.T) {
	l := labtest.New(t)
	short := loadSearch(t, l, searched12)
	short.Search.Budget.Trials = 3
	_, err := Run(t.Context(), l, short, Options{Jobs: 2}, nil, &log{})
	labtest.Must(t, err)
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	s := loadSearch(t, l, searched12)
	cells, err := r.Cells(t.Context(), s.Base.Name)
	labtest.Must(t, err)
	phases := map[string]int{}
	for _, c := range cells {
		phases[c.Phase+" "+c.Variant[:4]]++
		if c.Phase == results.Searched && int(c.Seed) != int(s.Base.Seed) || c.Phase == results.Confirming && c.Seed == int64(s.Base.Seed) {
			t.Errorf("%s has seed %d", c.Variant, c.Seed)
		}
		if _, has := c.Levels["decay"]; c.Variant != sweep.Baseline && has != (c.Levels["schedule"] == "constant") {
			t.Errorf("%s has the levels %v", c.Variant, c.Levels)
		}
	}
	if fmt.Sprint(phases) != "map[confirm base:2 confirm winn:2 search sear:3]" {
		t.Errorf("phases %v", phases)
	}
}

func TestABudgetThatGrowsKeepsThePointsAndAnotherSeedDoesNot(t *testing.T) {
	l := labtest.New(t)
	small := loadSearch(t, l, searched12)
	small.Search.Budget.Trials = 2
	_, err := Run(t.Context(), l, small, Options{}, nil, &log{})
	labtest.Must(t, err)
	more := loadSearch(t, l, searched12)
	more.Search.Budget.Trials = 3
	w := &log{}
	out, err := Run(t.Context(), l, more, Options{}, nil, w)
	labtest.Must(t, err)
	before := 0
	for _, x := range out.States {
		if x.Before {
			before++
		}
	}
	if before < 4 || w.added[0] != "search-3" { // two points and the baseline
		t.Errorf("%d trials were there, added %v", before, w.added)
	}
	other := loadSearch(t, l, searched12)
	other.Search.Budget.Trials, other.Search.Seed = 1, 9
	w = &log{}
	_, err = Run(t.Context(), l, other, Options{}, nil, w)
	labtest.Must(t, err)
	if w.added[0] != "search-1" || len(w.notes) == 0 {
		t.Errorf("added %v, notes %q", w.added, w.notes)
	}
}

func TestTwoRunnersShareASearch(t *testing.T) {
	l := labtest.New(t)
	ended := make(chan error, 2)
	for range 2 {
		s := loadSearch(t, l, searched12)
		s.Search.Budget.Trials = 3
		go func() {
			_, err := Run(t.Context(), l, s, Options{}, nil, &log{})
			ended <- err
		}()
	}
	labtest.Must(t, <-ended)
	labtest.Must(t, <-ended)
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	cells, err := r.Cells(t.Context(), loadSearch(t, l, searched12).Base.Name)
	labtest.Must(t, err)
	done := 0
	for _, c := range cells {
		if c.Done && c.Planned {
			done++
		}
	}
	if done != 7 || len(cells) != 7 {
		t.Errorf("%d of %d cells are done", done, len(cells))
	}
}

func TestAPointIsAsBadAsItsWorstSeed(t *testing.T) {
	l := labtest.New(t)
	s := loadSearch(t, l, searched12+"  seeds: [1, 2]\n")
	for range 4 {
		_, err := s.Search.Suggest(make([]sweep.Fate, len(s.Search.Points)))
		labtest.Must(t, err)
	}
	c := &scheduler{sweep: s, values: map[string]float64{"a": .25, "b": .75}}
	s.Trials = nil
	for i, statuses := range [][2]Status{{Done, Done}, {Done, Running}, {Done, Stopped}, {Failed, Running}} {
		for k, status := range statuses {
			s.Trials = append(s.Trials, sweep.Trial{Cells: []sweep.Cell{s.Search.Points[i]}})
			c.states = append(c.states, State{Status: status, RunID: []string{"a", "b"}[k], Err: fault.New(fault.Numeric, "NaN")})
		}
	}
	fates, err := c.fates(t.Context())
	labtest.Must(t, err)
	var states []propose.State
	for _, f := range fates {
		states = append(states, f.State)
	}
	if !slices.Equal(states, []propose.State{propose.Finished, propose.Pending, propose.Stopped, propose.Pending}) || fates[0].Cost != -.5 || sweep.Best(fates) != 0 {
		t.Errorf("fates %+v", fates)
	}
}

func TestAPointWhoseWeightsCannotBeReadEndsTheSearch(t *testing.T) {
	l := labtest.New(t)
	file := filepath.Join(t.TempDir(), "broken.safetensors")
	labtest.Must(t, os.WriteFile(file, []byte("no weights"), 0o644))
	_, err := Run(t.Context(), l, loadSearch(t, l, labtest.Text+`ablate:
  design: search
  budget: {trials: 2}
  metric: eval/dots/top1
  factors:
    begin: {broken: {init.weights: `+file+`}}
`), Options{}, nil, &log{})
	if err == nil || fault.KindOf(err) == fault.Internal {
		t.Errorf("%v, want what is wrong with the file", err)
	}
}
