package schedule

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"tandem/core/experiment/propose"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// restore adds the points that were suggested before to a search, as the database has them, and reports whether there are some. Nothing
// else is kept of a search. It tells w when they were suggested of another spec, or with other plugins, and do not count.
func restore(ctx context.Context, r *store.Reader, s *sweep.Sweep, w Watcher) (bool, error) {
	e, err := r.Experiment(ctx, s.Base.Name)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	points, err := searched(ctx, r, s.Base.Name)
	if err != nil || len(points) == 0 {
		return false, err
	}
	same := e.Settings.Search != nil && e.Settings.Search.Seed == s.Search.Seed
	before := len(s.Trials)
	for n := 1; same && n <= len(points); n++ {
		same = readd(s, n, points[sweep.PointName(n)])
	}
	if same {
		return true, nil
	}
	s.Trials, s.Search.Points = s.Trials[:before], nil
	w.Note(fmt.Sprintf("the spec or its plugins changed since the search began: what came of %d points before does not count, and it begins anew", len(points)))
	return false, nil
}

// searched returns the planned cells of a search's points, by variant.
func searched(ctx context.Context, r *store.Reader, experiment string) (map[string][]store.Cell, error) {
	cells, err := r.Planned(ctx, experiment)
	points := map[string][]store.Cell{}
	for _, c := range cells {
		if c.Phase == results.Searched {
			points[c.Variant] = append(points[c.Variant], c)
		}
	}
	return points, err
}

// readd adds the trials of point n by its planned cells.
func readd(s *sweep.Sweep, n int, cells []store.Cell) bool {
	if len(cells) == 0 {
		return false
	}
	identities := map[uint64]string{}
	for _, c := range cells {
		identities[uint64(c.Seed)] = c.Identity
	}
	trials, ok := s.Search.Restore(n, cells[0].Levels, identities)
	if ok {
		s.Trials = append(s.Trials, trials...)
	}
	return ok
}

// objective returns the metric that a search goes by.
func objective(s *sweep.Sweep) string { return cmp.Or(s.Choose, s.Metric) }

// fates tells what became of the points of a search so far.
func (c *scheduler) fates(ctx context.Context) ([]sweep.Fate, error) {
	name := objective(c.sweep)
	sign := 1.0
	if metric.DirectionIn(c.sweep.Directions, name) == metric.Up {
		sign = -1
	}
	at, seeds := map[string]int{}, make([]float64, len(c.sweep.Search.Points))
	fates := make([]sweep.Fate, len(c.sweep.Search.Points))
	for i, p := range c.sweep.Search.Points {
		at[p.Variant] = i
	}
	for i, t := range c.sweep.Trials {
		p, of := at[t.Cells[0].Variant]
		if !of {
			continue
		}
		f := &fates[p]
		state := propose.Pending
		switch c.states[i].Status {
		case Done:
			value, err := c.value(ctx, c.states[i].RunID, name)
			if err != nil {
				return nil, err
			}
			state, seeds[p] = propose.Finished, seeds[p]+1
			f.Cost += sign * value
			if math.IsNaN(value) || math.IsInf(value, 0) {
				state = propose.Failed
			}
		case Stopped:
			state = propose.Stopped
		case Failed:
			state = propose.Failed
		}
		f.State = max(f.State, state)
	}
	for p := range fates {
		fates[p].Cost /= seeds[p]
	}
	return fates, nil
}

// value returns the final value of a metric of a run that is done; NaN without one.
func (c *scheduler) value(ctx context.Context, id, name string) (float64, error) {
	if v, known := c.values[id]; known {
		return v, nil
	}
	final, err := c.reader.Final(ctx, id)
	if err != nil {
		return 0, err
	}
	v := math.NaN()
	if m, has := final[name]; has {
		v = float64(m.Last)
	}
	c.values[id] = v
	return v, nil
}

// unfinished counts the trials of the search that are not over, and those of them that other runners make.
func (c *scheduler) unfinished() (all, elsewhere int) {
	for i, t := range c.sweep.Trials {
		if t.Cells[0].Phase == results.Searched && !c.states[i].over() {
			all++
			if c.states[i].Status == Elsewhere {
				elsewhere++
			}
		}
	}
	return all, elsewhere
}

// mayGrow reports whether a search has something to add now: a point when fewer trials are under way than may be, and at the end
// what confirms the best.
func (c *scheduler) mayGrow() bool {
	if c.sweep.Search == nil || c.chosen {
		return false
	}
	all, elsewhere := c.unfinished()
	return all == 0 || !c.ended && all-elsewhere < c.options.Jobs
}

// grow adds a point to a search, or at its end the trials that confirm the best.
func (c *scheduler) grow(ctx context.Context) error {
	s := c.sweep.Search
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	fates, err := c.fates(ctx)
	if err != nil {
		return err
	}
	if c.ended, err = c.budgetSpent(ctx); err != nil {
		return err
	}
	if c.ended {
		if all, _ := c.unfinished(); all > 0 {
			return nil
		}
		return c.confirm(ctx, fates)
	}
	trials, err := s.Suggest(fates)
	if len(trials) == 0 && err != nil { // what it would begin with cannot be read: it has no identity to be planned under
		return err
	}
	if len(trials) == 0 {
		c.spent = true
		c.w.Note(fmt.Sprintf("the search ends after %d points: no other is left", len(s.Points)))
		return nil
	}
	state := State{Status: Waiting}
	if err != nil {
		state = State{Status: Failed, Err: err}
	}
	added, planErr := c.db.PlanMore(ctx, c.sweep.Base.Name, cellsOf(trials))
	if planErr != nil {
		return planErr
	}
	if !added { // another runner suggested one meanwhile
		s.Points = s.Points[:len(s.Points)-1]
		return c.catchUp(ctx)
	}
	return c.add(ctx, trials, state)
}

// budgetSpent reports whether no further point is to be tried.
func (c *scheduler) budgetSpent(ctx context.Context) (bool, error) {
	b := c.sweep.Search.Budget
	if c.spent || b.Trials > 0 && len(c.sweep.Search.Points) >= b.Trials || len(c.sweep.Search.Points) >= sweep.MaxTrials {
		return true, nil
	}
	if b.Hours == 0 {
		return false, nil
	}
	sum := 0.0
	for i, t := range c.sweep.Trials {
		if id := c.states[i].RunID; id != "" && t.Cells[0].Phase == results.Searched {
			seconds, err := c.reader.Seconds(ctx, id)
			if err != nil {
				return false, err
			}
			sum += seconds
		}
	}
	return sum >= b.Hours*3600, nil
}

// catchUp adds the points that other runners suggested meanwhile.
func (c *scheduler) catchUp(ctx context.Context) error {
	points, err := searched(ctx, c.reader, c.sweep.Base.Name)
	if err != nil {
		return err
	}
	for n := len(c.sweep.Search.Points) + 1; len(points[sweep.PointName(n)]) > 0; n++ {
		before := len(c.sweep.Trials)
		if !readd(c.sweep, n, points[sweep.PointName(n)]) {
			return fault.New(fault.Conflict, "another runner searches a different space under the name %s", c.sweep.Base.Name).
				WithHint("give one of the two specs another name: --set name=NAME")
		}
		added := c.sweep.Trials[before:]
		c.sweep.Trials = c.sweep.Trials[:before:before]
		if err := c.add(ctx, added, State{Status: Waiting}); err != nil {
			return err
		}
	}
	return nil
}

// add adds trials that are planned.
func (c *scheduler) add(ctx context.Context, trials []sweep.Trial, state State) error {
	first := len(c.sweep.Trials)
	for _, t := range trials {
		c.order = append(c.order, len(c.sweep.Trials))
		c.sweep.Trials = append(c.sweep.Trials, t)
		c.states = append(c.states, state)
	}
	if state.Status == Waiting {
		if err := c.lookUp(ctx, first); err != nil {
			return err
		}
	}
	for i, t := range trials {
		c.w.Added(t, c.states[first+i])
	}
	return nil
}

// confirm adds the trials that confirm the best point, and lets those of the baseline begin: side by side, seed by seed.
func (c *scheduler) confirm(ctx context.Context, fates []sweep.Fate) error {
	c.chosen = true
	best := sweep.Best(fates)
	if c.sweep.Search.Confirm == 0 {
		return nil
	}
	for i, t := range c.sweep.Trials {
		if t.Cells[0].Phase == results.Confirming {
			c.order = append(c.order, i)
		}
	}
	if best < 0 {
		c.w.Note("no point of the search has a value: there is no winner to confirm")
		return nil
	}
	trials, err := c.sweep.Search.Confirmation(best)
	if err != nil {
		return err
	}
	if _, err := c.db.PlanMore(ctx, c.sweep.Base.Name, cellsOf(trials)); err != nil {
		return err
	}
	before := len(c.order) - len(trials)
	if err := c.add(ctx, trials, State{Status: Waiting}); err != nil {
		return err
	}
	confirming := append([]int(nil), c.order[before:]...)
	n := len(trials)
	for k := range n {
		c.order[before+2*k], c.order[before+2*k+1] = confirming[k], confirming[n+k]
	}
	return nil
}

// tellBest tells of the best point of a search so far, when it is another than before.
func (c *scheduler) tellBest(ctx context.Context) error {
	if c.sweep.Search == nil || c.chosen {
		return nil
	}
	fates, err := c.fates(ctx)
	if err != nil {
		return err
	}
	if best := sweep.Best(fates); best >= 0 {
		value := fates[best].Cost
		if metric.DirectionIn(c.sweep.Directions, objective(c.sweep)) == metric.Up {
			value = -value
		}
		c.w.Best(c.sweep.Search.Points[best].Variant, objective(c.sweep), value)
	}
	return nil
}

// cellsOf returns the cells that trials fill.
func cellsOf(trials []sweep.Trial) (cells []store.Cell) {
	for _, t := range trials {
		for _, c := range t.Cells {
			cells = append(cells, store.Cell{Variant: c.Variant, Seed: int64(t.Seed), Identity: t.Identity, Levels: c.Levels, Phase: c.Phase})
		}
	}
	return cells
}
