package sweep

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tandem/core/experiment/propose"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results"
)

// Winner names the best of a search, run again under fresh seeds.
const Winner = "winner"

// probes is how many random points of a space are checked before a search begins.
const probes = 32

// Search suggests the cells of a sweep one after another, by what became of those before.
type Search struct {
	Budget  spec.Budget
	Seed    uint64
	Confirm int          // fresh seeds that Winner and Baseline are run with
	Points  []Cell       // suggested so far
	Probes  []*spec.Spec // of random points: what the trials may be like

	picker
	factors  []spec.Factor // of the dimensions of space, which are those of the names in their order, what one depends on before it
	space    propose.Space
	draft    *spec.Draft
	seeds    []spec.Seed
	fresh    []spec.Seed
	identify Identify
}

// newSearch returns the search of a block, with the faults of the points that it might suggest.
func newSearch(d *spec.Draft, base *spec.Spec, identify Identify) (*Search, fault.List) {
	a := d.Ablate
	s := &Search{Budget: a.Budget, Seed: a.RandomSeed, Confirm: a.Confirm, picker: picker{a, base}, draft: d, seeds: a.Seeds, identify: identify}
	if len(s.seeds) == 0 {
		s.seeds = []spec.Seed{{Value: base.Seed, Origin: a.Origin}}
	}
	s.fresh = freshSeeds(s.seeds, a.Confirm, a.Origin)
	s.arrange()
	var faults fault.List
	for n := range probes {
		c := s.cell("", s.space.Random(a.RandomSeed, 1+n))
		one, more := d.Resolve(spec.Choice{Variant: named(c.Levels), Overrides: c.Overrides})
		if one != nil {
			s.Probes = append(s.Probes, one)
			more = checkMetrics(a, base, one)
		}
		for _, e := range more {
			if a.Outside(e) {
				e.WithOp("variant " + named(c.Levels))
			}
		}
		if faults = append(faults, more...); len(faults) > 0 {
			return s, faults
		}
	}
	return s, nil
}

// named writes levels as a variant is named.
func named(levels map[string]string) string {
	var parts []string
	for f, l := range levels {
		parts = append(parts, f+"="+l)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// arrange makes the space of the factors. Neither their order nor that of their levels in the file changes it.
func (s *Search) arrange() {
	byName := func(a, b spec.Factor) int { return strings.Compare(a.Name, b.Name) }
	left := slices.SortedFunc(slices.Values(s.a.Factors), byName)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(f spec.Factor) bool {
			return !slices.ContainsFunc(left, func(other spec.Factor) bool { return s.a.DependsOn(f, other.Name) })
		})
		s.factors = append(s.factors, left[i])
		left = slices.Delete(left, i, i+1)
	}
	for i, f := range s.factors {
		d := propose.Dim{Name: f.Name, Choices: len(f.Levels)}
		if f.Draw != nil {
			d.Low, d.High, d.Log, d.Whole = f.Draw.Low, f.Draw.High, f.Draw.Log, isWhole(f.Draw, s.base)
		} else {
			s.factors[i].Levels = slices.SortedFunc(slices.Values(f.Levels), func(a, b spec.Level) int { return strings.Compare(a.Name, b.Name) })
			d.Places = places(s.factors[i].Levels)
		}
		if len(f.When) > 0 {
			d.Applies = func(p propose.Point) bool {
				c := s.cell("", p)
				return f.Applies(c.Levels, s.valueOf(c.Levels, func(factor string) []spec.Override { return s.overrides(factor, p) }))
			}
		}
		s.space = append(s.space, d)
	}
}

// places returns where levels lie in [0, 1] when each sets one key to a number: evenly, in the order of the numbers. Else it returns nil.
func places(levels []spec.Level) []float64 {
	numbers := make([]float64, len(levels))
	for i, l := range levels {
		if len(l.Overrides) != 1 || len(levels) < 2 {
			return nil
		}
		v, err := strconv.ParseFloat(fmt.Sprint(l.Overrides[0].Value), 64)
		if err != nil {
			return nil
		}
		numbers[i] = v
	}
	order := slices.Sorted(slices.Values(numbers))
	at := make([]float64, len(levels))
	for i, v := range numbers {
		at[i] = float64(slices.Index(order, v)) / float64(len(levels)-1)
	}
	return at
}

// overrides returns what a factor sets at a point.
func (s *Search) overrides(factor string, p propose.Point) []spec.Override {
	i := slices.IndexFunc(s.factors, func(f spec.Factor) bool { return f.Name == factor })
	f := s.factors[i]
	switch {
	case math.IsNaN(p[i]):
		return nil
	case f.Draw == nil:
		return f.Levels[int(p[i])].Overrides
	case s.space[i].Whole:
		return []spec.Override{f.Draw.Override(int64(p[i]))}
	}
	return []spec.Override{f.Draw.Override(p[i])}
}

// cell returns the cell at a point.
func (s *Search) cell(variant string, p propose.Point) Cell {
	c := Cell{Variant: variant, Levels: map[string]string{}, Overrides: []spec.Override{}, Phase: results.Searched}
	for i, f := range s.factors {
		switch {
		case math.IsNaN(p[i]):
		case f.Draw == nil:
			c.Levels[f.Name] = f.Levels[int(p[i])].Name
		case s.space[i].Whole:
			c.Levels[f.Name] = fmt.Sprint(int64(p[i]))
		default:
			c.Levels[f.Name] = fmt.Sprint(p[i])
		}
	}
	for _, f := range s.a.Factors {
		c.Overrides = append(c.Overrides, s.overrides(f.Name, p)...)
	}
	return c
}

// point returns the point of a cell by its levels; false when it is none of this space.
func (s *Search) point(levels map[string]string) (propose.Point, bool) {
	p := make(propose.Point, len(s.space))
	left := len(levels)
	for i, f := range s.factors {
		p[i] = math.NaN()
		text, has := levels[f.Name]
		if !has {
			continue
		}
		left--
		if f.Draw != nil {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || v < f.Draw.Low || v > f.Draw.High {
				return nil, false
			}
			p[i] = v
			continue
		}
		at := slices.IndexFunc(f.Levels, func(l spec.Level) bool { return l.Name == text })
		if at < 0 {
			return nil, false
		}
		p[i] = float64(at)
	}
	return p, left == 0
}

// PointName names suggestion n of a search, counted from 1.
func PointName(n int) string { return fmt.Sprintf("search-%d", n) }

// Restore returns the trials of a suggestion that was made before, by its levels. It returns false when they are none of this space, or not those
// of these identities, by seed: then it was made of another spec, or with other plugins.
func (s *Search) Restore(n int, levels map[string]string, identities map[uint64]string) ([]Trial, bool) {
	p, ok := s.point(levels)
	if !ok || len(identities) != len(s.seeds) {
		return nil, false
	}
	list, err := s.trials(s.cell(PointName(n), p), s.seeds)
	if err != nil && len(list) == 0 {
		return nil, false
	}
	for _, t := range list {
		if identities[t.Seed] != t.Identity {
			return nil, false
		}
	}
	s.Points = append(s.Points, list[0].Cells[0])
	return list, true
}

// Fate tells what became of a point.
type Fate struct {
	State propose.State
	Cost  float64 // smaller is better
}

// Suggest returns the trials of the next point, given what became of all points before; nil when no point is left that was not tried. The same
// fates give the same point. With an error beside trials, these are of a point whose spec has faults: none can be run.
func (s *Search) Suggest(fates []Fate) ([]Trial, error) {
	history := make([]propose.Result, len(s.Points))
	for i, c := range s.Points {
		p, _ := s.point(c.Levels)
		history[i] = propose.Result{Point: p, State: fates[i].State, Cost: fates[i].Cost}
	}
	n := len(s.Points) + 1
	p, ok := s.space.Next(s.Seed, n, history)
	if !ok {
		return nil, nil
	}
	list, err := s.trials(s.cell(PointName(n), p), s.seeds)
	if len(list) > 0 {
		s.Points = append(s.Points, list[0].Cells[0])
	}
	return list, err
}

// Expected returns how many trials there will be in the end, what confirms them included; 0 when only time ends the search.
func (s *Search) Expected() int {
	if s.Budget.Trials == 0 {
		return 0
	}
	return max(len(s.Points), s.Budget.Trials)*len(s.seeds) + 2*s.Confirm
}

// Seeds returns the seeds of a point, and those that confirm the winner.
func (s *Search) Seeds() (tried, fresh []uint64) {
	for _, x := range s.seeds {
		tried = append(tried, x.Value)
	}
	for _, x := range s.fresh {
		fresh = append(fresh, x.Value)
	}
	return tried, fresh
}

// Factor describes a factor of a search in words: what it varies, over what, and where.
type Factor struct {
	Name, Keys, Values, When string
}

// Describe returns the factors in the order of the file.
func (s *Search) Describe() (list []Factor) {
	for _, f := range s.a.Factors {
		x := Factor{Name: f.Name}
		var keys, when []string
		if f.Draw != nil {
			how := ""
			if f.Draw.Log {
				how = ", even in the logarithm"
			}
			if isWhole(f.Draw, s.base) {
				how = ", whole numbers" + how
			}
			keys, x.Values = []string{f.Draw.Key}, fmt.Sprintf("%v to %v%s", f.Draw.Low, f.Draw.High, how)
		}
		for _, l := range f.Levels {
			for _, o := range l.Overrides {
				if !slices.Contains(keys, o.Path) {
					keys = append(keys, o.Path)
				}
			}
		}
		if f.Draw == nil {
			x.Values = strings.Join(levelNames(f), ", ")
		}
		for _, c := range f.When {
			if c.Factor != "" {
				when = append(when, c.Factor+" is "+strings.Join(c.Levels, " or "))
			} else {
				when = append(when, c.Key+" is "+texts(c.Values))
			}
		}
		x.Keys, x.When = strings.Join(keys, " "), strings.Join(when, " and ")
		list = append(list, x)
	}
	return list
}

// Best returns the index of the best point; -1 where none has a cost.
func Best(fates []Fate) int {
	best := -1
	for i, f := range fates {
		if f.State == propose.Finished && (best < 0 || f.Cost < fates[best].Cost) {
			best = i
		}
	}
	return best
}

// Confirmation returns the trials that confirm a point.
func (s *Search) Confirmation(point int) ([]Trial, error) {
	c := s.Points[point]
	c.Variant, c.Phase = Winner, results.Confirming
	return s.trials(c, s.fresh)
}

// Invalid stands for the identity of a trial that cannot be run, since its spec has faults.
const Invalid = "invalid"

// Check returns the faults of a cell's spec; nil without any.
func (s *Search) Check(c Cell) error {
	_, err := s.resolve(c)
	return err
}

func (s *Search) resolve(c Cell) (*spec.Spec, error) {
	one, faults := s.draft.Resolve(spec.Choice{Variant: c.Variant, Overrides: c.Overrides})
	if err := s.draft.Err(faults...); err != nil {
		return nil, fault.New(fault.KindOf(err), "%s: %w", named(c.Levels), err)
	}
	return one, nil
}

// trials returns the trials of a cell under seeds. Where its spec has faults, they are beside trials that cannot be run.
func (s *Search) trials(c Cell, seeds []spec.Seed) (list []Trial, err error) {
	one, wrong := s.resolve(c)
	if wrong != nil {
		for _, seed := range seeds {
			list = append(list, Trial{ID: Invalid, Identity: Invalid, Seed: seed.Value, Cells: []Cell{c}, Spec: s.base.WithSeed(seed)})
		}
		return list, wrong
	}
	for _, seed := range seeds {
		seeded := one.WithSeed(seed)
		id, err := s.identify(seeded)
		if err != nil {
			return nil, err
		}
		list = append(list, Trial{ID: id[:min(16, len(id))], Identity: id, Seed: seed.Value, Cells: []Cell{c}, Spec: seeded})
	}
	return list, nil
}

// freshSeeds returns the n smallest seeds that are not among some.
func freshSeeds(taken []spec.Seed, n int, o spec.Origin) (out []spec.Seed) {
	for v := uint64(0); len(out) < n; v++ {
		if !slices.ContainsFunc(taken, func(s spec.Seed) bool { return s.Value == v }) {
			out = append(out, spec.Seed{Value: v, Origin: o})
		}
	}
	return out
}
