package sweep

import (
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// design lists the cells of a block, the baseline first. base is nil when the spec has faults.
func design(a *spec.Ablate, base *spec.Spec) ([]Cell, fault.List) {
	if e := tooMany(a); e != nil {
		return nil, fault.List{e}
	}
	d := &designer{a: a, base: base, names: map[string]string{}}
	if a.Baseline != nil {
		d.add(d.withBaseline(nil), a.Baseline.Path)
		if a.NoiseFloor {
			d.cells = append(d.cells, Cell{Again, d.withBaseline(nil), overridesOf(a, a.Baseline.Levels)})
		}
	}
	switch a.Design {
	case spec.OneAtATime:
		d.oneAtATime()
	case spec.Grid:
		d.grid()
	case spec.List:
		for _, l := range a.List {
			d.once(l, "the cell is %s already")
		}
	case spec.Random:
		d.random()
	}
	for _, i := range a.Include {
		d.once(i, "the cell is part of the design, by %s")
	}
	return d.cells, d.faults
}

// designer collects cells.
type designer struct {
	a      *spec.Ablate
	base   *spec.Spec
	cells  []Cell
	names  map[string]string // by variant: what gave the cell
	faults fault.List
}

func (d *designer) refuse(at spec.Assignment, format string, args ...any) *fault.Error {
	e := fault.New(fault.Invalid, format, args...).WithPath(at.Path).WithFile(at.Origin.Source, at.Origin.Line, at.Origin.Column)
	d.faults = append(d.faults, e)
	return e
}

// withBaseline returns the baseline with some levels changed: a level of every factor.
func (d *designer) withBaseline(levels map[string]string) map[string]string {
	all := map[string]string{}
	if d.a.Baseline != nil {
		maps.Copy(all, d.a.Baseline.Levels)
	}
	maps.Copy(all, levels)
	return all
}

// add appends the cell of these levels. by says what asked for it.
func (d *designer) add(levels map[string]string, by string) {
	name := d.variantName(levels)
	d.names[name] = by
	d.cells = append(d.cells, Cell{name, levels, overridesOf(d.a, levels)})
}

// once adds a cell that must not be there already.
func (d *designer) once(at spec.Assignment, format string) {
	levels := d.withBaseline(at.Levels)
	if by, taken := d.names[d.variantName(levels)]; taken {
		d.refuse(at, format, by).WithHint("remove it: it adds nothing")
		return
	}
	d.add(levels, at.Path)
}

// variantName names what differs from the baseline, sorted by factor.
func (d *designer) variantName(levels map[string]string) string {
	var parts []string
	for _, f := range slices.Sorted(maps.Keys(levels)) {
		if levels[f] != d.a.Baseline.Levels[f] {
			parts = append(parts, f+"="+levels[f])
		}
	}
	if len(parts) == 0 {
		return Baseline
	}
	return strings.Join(parts, ",")
}

// overridesOf returns the overrides of all chosen levels, in the order of the file.
func overridesOf(a *spec.Ablate, levels map[string]string) []spec.Override {
	out := []spec.Override{}
	for _, f := range a.Factors {
		if l := f.Level(levels[f.Name]); l != nil {
			out = append(out, l.Overrides...)
		}
	}
	return out
}

func (d *designer) oneAtATime() {
	for _, f := range d.a.Factors {
		for _, l := range f.Levels {
			if l.Name != d.a.Baseline.Levels[f.Name] {
				d.add(d.withBaseline(map[string]string{f.Name: l.Name}), "factor "+f.Name)
			}
		}
	}
}

// grid adds every combination that no exclude matches, the last factor varying fastest.
func (d *designer) grid() {
	hits := make([]int, len(d.a.Exclude))
	var walk func(levels map[string]string, rest []spec.Factor)
	walk = func(levels map[string]string, rest []spec.Factor) {
		if len(rest) > 0 {
			for _, l := range rest[0].Levels {
				next := maps.Clone(levels)
				next[rest[0].Name] = l.Name
				walk(next, rest[1:])
			}
			return
		}
		excluded := false
		for i, x := range d.a.Exclude {
			if matches(levels, x.Levels) && !excluded {
				hits[i]++
				excluded = true
				if d.variantName(levels) == Baseline {
					d.refuse(x, "leaves out the baseline").WithHint("the others are compared with it; exclude less, or choose another baseline")
				}
			}
		}
		if !excluded && d.variantName(levels) != Baseline {
			d.add(levels, "the grid")
		}
	}
	walk(map[string]string{}, d.a.Factors)
	for i, x := range d.a.Exclude {
		if hits[i] == 0 {
			d.refuse(x, "matches no cell that is left").WithHint("remove it: those before it leave out the same cells")
		}
	}
}

func matches(levels, want map[string]string) bool {
	for f, l := range want {
		if levels[f] != l {
			return false
		}
	}
	return true
}

// tooMany refuses a design of more than MaxTrials trials, from its numbers alone.
func tooMany(a *spec.Ablate) *fault.Error {
	cells, how := new(big.Int), ""
	switch a.Design {
	case spec.OneAtATime:
		n := 1
		for _, f := range a.Factors {
			n += len(f.Levels) - 1
		}
		cells.SetInt64(int64(n))
	case spec.Grid:
		cells.SetInt64(1)
		var sizes []string
		for _, f := range a.Factors {
			cells.Mul(cells, big.NewInt(int64(len(f.Levels))))
			sizes = append(sizes, strconv.Itoa(len(f.Levels)))
		}
		how = " (" + strings.Join(sizes, " × ") + ")"
	case spec.List:
		cells.SetInt64(int64(1 + len(a.List)))
	case spec.Random:
		cells.SetInt64(int64(a.Trials))
		if a.Baseline != nil {
			cells.Add(cells, big.NewInt(1))
		}
	}
	cells.Add(cells, big.NewInt(int64(len(a.Include))))
	if a.NoiseFloor {
		cells.Add(cells, big.NewInt(1))
	}
	seeds := int64(max(1, len(a.Seeds)))
	trials := new(big.Int).Mul(cells, big.NewInt(seeds))
	if trials.Cmp(big.NewInt(MaxTrials)) <= 0 {
		return nil
	}
	e := refuse(a, "design", "%d cells%s × %d seeds are %d trials, more than %d", cells, how, seeds, trials, MaxTrials)
	if a.Design == spec.Random {
		return e.WithHint("draw fewer: trials: %d", max(1, MaxTrials/seeds-(cells.Int64()-int64(a.Trials))))
	}
	return e.WithHint("leave out factors or levels, or use design: one-at-a-time, or design: random with trials: 100")
}
