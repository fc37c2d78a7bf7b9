// Package sweep turns a spec with an ablate block into an ordered list of trials: the cells that its
// design chooses, each under every seed, each with its resolved spec.
//
// It is pure: it reads no file and starts no process. A spec without the block is a sweep of one
// trial.
//
// A cell is a combination of levels, called by what differs from the baseline
// ("loss=siglip,pool=average"), so that a cell has one name whatever the design and whatever the order of
// the file. Cells whose specs resolve to the same run are one trial that has all their names.
package sweep

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/metric"
)

// MaxTrials limits the trials of a sweep. A larger design is refused before it is built.
const MaxTrials = 10000

// Baseline names the cell that the others are compared with.
const Baseline = "baseline"

// Again names the baseline run again under other seeds: what it differs by means nothing.
const Again = "baseline-again"

// Sweep holds the trials of a spec.
type Sweep struct {
	Base       *spec.Spec        // without the block
	Design     string            // "": a spec without an ablate block
	Factors    []results.Factor  // in file order
	Metric     string            // what decides
	Noise      string            // Again, or "" when the baseline is run once
	Choose     string            // what chooses among variants; "": Metric
	Directions map[string]string // by metric, where the spec says so
	Looks      []int             // numbers of seeds at which the table is looked at; nil: once
	Analysis   string            // spec.Paired, spec.Pooled or ""
	Retries    spec.Retries
	Stop       *spec.Stop // with its metric; nil: every trial runs to its end
	Impossible int        // combinations of a grid that are left out, since a factor does not apply
	Search     *Search    // of design search, which adds to Trials as it goes; else nil
	Trials     []Trial    // the baseline first, then by design; the seeds of a cell side by side
}

// Specs returns the specs of all trials, and some of those that a search may add.
func (s *Sweep) Specs() []*spec.Spec {
	var list []*spec.Spec
	for _, t := range s.Trials {
		list = append(list, t.Spec)
	}
	if s.Search != nil {
		list = append(list, s.Search.Probes...)
	}
	return list
}

// Trial describes one run to make.
type Trial struct {
	ID       string     `json:"id"` // the first 16 digits of Identity
	Identity string     `json:"identity"`
	Seed     uint64     `json:"seed"`
	Cells    []Cell     `json:"cells"` // at least one; the spec's variant is the first's
	Spec     *spec.Spec `json:"-"`
}

// Variants returns the names of t's cells.
func (t Trial) Variants() []string {
	names := make([]string, len(t.Cells))
	for i, c := range t.Cells {
		names[i] = c.Variant
	}
	return names
}

// MayStop reports whether t may be stopped early. The baseline and its repetition may not, because the others
// are compared with them; nor may what confirms the winner of a search.
func (s *Sweep) MayStop(t Trial) bool {
	return s.Stop != nil && !slices.ContainsFunc(t.Cells, func(c Cell) bool {
		return c.Variant == Baseline || c.Variant == Again || c.Phase == results.Confirming
	})
}

// Cell describes a combination of levels.
type Cell struct {
	Variant   string            `json:"variant"`
	Levels    map[string]string `json:"levels"` // by factor; a drawn value is a level too
	Overrides []spec.Override   `json:"overrides"`
	Phase     string            `json:"phase,omitempty"` // of a search: results.Searched or results.Confirming
}

// Identify returns the identity of a run; see spec.Spec.Identity.
type Identify func(*spec.Spec) (string, error)

// Plan lists the trials of a draft. Its error is the fault.List of everything wrong with the spec, its ablate
// block and every cell, in file order; or the error of identify.
func Plan(d *spec.Draft, identify Identify) (*Sweep, error) {
	base, faults := d.Resolve(spec.Choice{})
	var cells []Cell
	impossible := 0
	if d.Ablate != nil {
		var refused fault.List
		cells, impossible, refused = design(d.Ablate, base)
		faults = append(faults, refused...)
		faults = append(faults, checkBounds(d, base, faults)...)
	}
	resolved := make([]*spec.Spec, len(cells))
	for i, c := range cells {
		s, more := d.Resolve(spec.Choice{Variant: c.Variant, Overrides: c.Overrides})
		for _, e := range more {
			if d.Ablate.Outside(e) {
				e.WithOp("variant " + c.Variant)
			}
		}
		if s != nil {
			more = checkMetrics(d.Ablate, base, s)
		}
		resolved[i] = s
		more = slices.DeleteFunc(more, func(e *fault.Error) bool { return isDrawn(d.Ablate, faults, e) })
		faults = append(faults, more...)
	}
	var search *Search
	if base != nil && d.Ablate != nil && d.Ablate.Design == spec.Search && len(faults) == 0 {
		var more fault.List
		search, more = newSearch(d, base, identify)
		faults = append(faults, more...)
	}
	if err := d.Err(faults...); err != nil {
		return nil, err
	}
	s := &Sweep{Base: base, Metric: base.DecidingMetric(), Impossible: impossible, Search: search}
	if d.Ablate == nil {
		cells, resolved = []Cell{{Variant: base.Variant}}, []*spec.Spec{base}
	} else {
		s.settings(d.Ablate)
	}
	return s, s.fill(d.Ablate, cells, resolved, identify)
}

// settings copies what the block says of the sweep as a whole.
func (s *Sweep) settings(a *spec.Ablate) {
	s.Design, s.Retries = a.Design, a.Retries
	s.Choose, s.Directions, s.Looks, s.Analysis = a.Choose, a.Directions, a.Looks, a.Analysis
	if a.Metric != "" {
		s.Metric = a.Metric
	}
	if a.NoiseFloor {
		s.Noise = Again
	}
	if a.Stop != nil {
		stop := *a.Stop
		if stop.Metric == "" {
			stop.Metric = s.Metric
		}
		s.Stop = &stop
	}
	for _, f := range a.Factors {
		s.Factors = append(s.Factors, results.Factor{Name: f.Name, Levels: levelNames(f), Conditional: len(f.When) > 0})
	}
}

// levelNames returns the names of a factor's levels.
func levelNames(f spec.Factor) []string {
	names := make([]string, len(f.Levels))
	for i, l := range f.Levels {
		names[i] = l.Name
	}
	return names
}

// fill makes the trials. Trials that are the same run become one.
func (s *Sweep) fill(a *spec.Ablate, cells []Cell, resolved []*spec.Spec, identify Identify) error {
	at := map[string]int{}
	for i, c := range cells {
		specs := []*spec.Spec{resolved[i]}
		if s.Search != nil { // what there is before it begins: the baseline, to be confirmed
			specs, c.Phase = nil, results.Confirming
			for _, seed := range s.Search.fresh {
				specs = append(specs, resolved[i].WithSeed(seed))
			}
		} else if a != nil && len(a.Seeds) > 0 {
			seeds := a.Seeds
			if c.Variant == Again {
				seeds = freshSeeds(a.Seeds, len(a.Seeds), a.Places["noise_floor"])
			}
			specs = specs[:0]
			for _, seed := range seeds {
				specs = append(specs, resolved[i].WithSeed(seed))
			}
		}
		for _, one := range specs {
			id, err := identify(one)
			if err != nil {
				return err
			}
			if j, seen := at[id]; seen {
				s.Trials[j].Cells = append(s.Trials[j].Cells, c)
				continue
			}
			at[id] = len(s.Trials)
			s.Trials = append(s.Trials, Trial{ID: id[:min(16, len(id))], Identity: id, Seed: one.Seed, Cells: []Cell{c}, Spec: one})
		}
	}
	return nil
}

// checkMetrics reports metrics that the block names and a run of s does not give, or gives too late to stop by.
func checkMetrics(a *spec.Ablate, base, s *spec.Spec) fault.List {
	faults := checkMetric(a, "metric", a.Metric, base, s)
	faults = append(faults, checkMetric(a, "choose", a.Choose, base, s)...)
	for _, name := range slices.Sorted(maps.Keys(a.Directions)) {
		faults = append(faults, checkMetric(a, "directions."+name, name, base, s)...)
	}
	if a.Stop == nil {
		return faults
	}
	faults = append(faults, checkMetric(a, "stop.metric", a.Stop.Metric, base, s)...)
	by := cmp.Or(a.Stop.Metric, a.Metric, s.DecidingMetric())
	if len(faults) == 0 && metric.IsEvaluation(by) && s.Train.EvalEvery == (spec.Interval{}) {
		e := refuse(a, "stop.metric", "%s is known at the end of a run only, too late to stop it", by)
		if base != nil && base.Train.EvalEvery != s.Train.EvalEvery {
			e.WithOp("variant " + s.Variant)
		}
		faults = append(faults, e.WithHint("set train.eval_every: 1 epoch, or stop by metric: "+metric.TrainLoss))
	}
	return faults
}

// refuse returns a fault of a key of the block.
func refuse(a *spec.Ablate, key, format string, args ...any) *fault.Error {
	o := a.Places[key]
	return fault.New(fault.Invalid, format, args...).WithPath("ablate."+key).WithFile(o.Source, o.Line, o.Column)
}

// checkMetric reports a metric that a run of s does not give.
func checkMetric(a *spec.Ablate, key, name string, base, s *spec.Spec) fault.List {
	if name == "" || s.Gives(name) {
		return nil
	}
	e, names := refuse(a, key, "no evaluation gives %s", name), s.EvalMetrics()
	if base != nil && base.Gives(name) {
		e.WithOp("variant " + s.Variant)
	}
	if len(names) == 0 {
		return fault.List{e.WithHint("the spec has no evaluations; train/loss is there always")}
	}
	e.WithHint("there are %s", strings.Join(names, ", "))
	if near := fault.Nearest(name, names); near != "" {
		e.WithHint("%s (did you mean %s?)", e.Hint, near)
	}
	return fault.List{e}
}
