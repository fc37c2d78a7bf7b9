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
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/spec"
)

// MaxTrials is how many trials a sweep may have. A larger design is refused before it is built.
const MaxTrials = 10000

// Baseline is the name of the cell that the others are compared with.
const Baseline = "baseline"

// Sweep is a spec's trials.
type Sweep struct {
	Base   *spec.Spec // without the block
	Design string     // "": a spec without an ablate block
	Metric string     // what decides
	Trials []Trial    // the baseline first, then by design; the seeds of a cell side by side
}

// Trial is one run to make.
type Trial struct {
	ID       string     `json:"id"` // the first 16 digits of Identity
	Identity string     `json:"identity"`
	Seed     uint64     `json:"seed"`
	Cells    []Cell     `json:"cells"` // at least one; the spec's variant is the first's
	Spec     *spec.Spec `json:"-"`
}

// Variants are the names of t's cells.
func (t Trial) Variants() []string {
	names := make([]string, len(t.Cells))
	for i, c := range t.Cells {
		names[i] = c.Variant
	}
	return names
}

// Cell is a combination of levels.
type Cell struct {
	Variant   string            `json:"variant"`
	Levels    map[string]string `json:"levels"` // by factor; a drawn value is a level too
	Overrides []spec.Override   `json:"overrides"`
}

// Identify gives the identity of a run; see spec.Spec.Identity.
type Identify func(*spec.Spec) (string, error)

// Plan lists the trials of a draft. Its error is the fault.List of everything wrong with the spec, its
// ablate block and every cell, in file order; or that of identify.
func Plan(d *spec.Draft, identify Identify) (*Sweep, error) {
	base, faults := d.Resolve(spec.Choice{})
	var cells []Cell
	if d.Ablate != nil {
		var refused fault.List
		cells, refused = design(d.Ablate, base)
		faults = append(faults, refused...)
		faults = append(faults, bounds(d, base, faults)...)
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
			more = metric(d.Ablate, base, s)
		}
		resolved[i] = s
		more = slices.DeleteFunc(more, func(e *fault.Error) bool { return drawn(d.Ablate, faults, e) })
		faults = append(faults, more...)
	}
	if err := d.Err(faults...); err != nil {
		return nil, err
	}
	s := &Sweep{Base: base, Metric: base.DecidingMetric()}
	if d.Ablate == nil {
		cells, resolved = []Cell{{Variant: base.Variant}}, []*spec.Spec{base}
	} else {
		s.Design = d.Ablate.Design
		if d.Ablate.Metric != "" {
			s.Metric = d.Ablate.Metric
		}
	}
	return s, s.fill(d.Ablate, cells, resolved, identify)
}

// fill makes the trials, joining those that are the same run.
func (s *Sweep) fill(a *spec.Ablate, cells []Cell, resolved []*spec.Spec, identify Identify) error {
	at := map[string]int{}
	for i, c := range cells {
		specs := []*spec.Spec{resolved[i]}
		if a != nil && len(a.Seeds) > 0 {
			specs = specs[:0]
			for _, seed := range a.Seeds {
				specs = append(specs, resolved[i].Seeded(seed))
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

// metric reports a metric that a run of s does not give.
func metric(a *spec.Ablate, base, s *spec.Spec) fault.List {
	if a.Metric == "" || s.Gives(a.Metric) {
		return nil
	}
	o, names := a.Places["metric"], s.EvalMetrics()
	e := fault.New(fault.Invalid, "no evaluation gives %s", a.Metric).WithPath("ablate.metric").WithFile(o.Source, o.Line, o.Column)
	if base != nil && base.Gives(a.Metric) {
		e.WithOp("variant " + s.Variant)
	}
	if len(names) == 0 {
		return fault.List{e.WithHint("the spec has no evaluations; train/loss is there always")}
	}
	e.WithHint("there are %s", strings.Join(names, ", "))
	if near := fault.Near(a.Metric, names); near != "" {
		e.WithHint("%s (did you mean %s?)", e.Hint, near)
	}
	return fault.List{e}
}
