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

// design lists the cells of a block, the baseline first, and says how many combinations of a grid are left out, since a factor
// does not apply. base is nil when the spec has faults.
func design(a *spec.Ablate, base *spec.Spec) (cells []Cell, impossible int, faults fault.List) {
	d := &designer{picker: picker{a, base}, names: map[string]string{}}
	if d.faults = d.checkConditions(); len(d.faults) > 0 {
		return nil, 0, d.faults
	}
	if e := d.tooMany(); e != nil {
		return nil, 0, fault.List{e}
	}
	if a.Baseline != nil {
		d.checkBaseline()
		d.add(d.withBaseline(nil), a.Baseline.Path)
		if a.NoiseFloor {
			d.cells = append(d.cells, Cell{Variant: Again, Levels: d.withBaseline(nil), Overrides: overridesOf(a, d.withBaseline(nil))})
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
	case spec.Search:
		d.wholeRanges()
		if a.Baseline == nil {
			d.cells = append(d.cells, Cell{Variant: Baseline, Levels: map[string]string{}, Overrides: []spec.Override{}})
		}
	}
	for _, i := range a.Include {
		d.once(i, "the cell is part of the design, by %s")
	}
	return d.cells, d.impossible, d.faults
}

// designer collects cells.
type designer struct {
	picker
	cells      []Cell
	names      map[string]string // by variant: what gave the cell
	impossible int               // combinations of a grid that are left out
	faults     fault.List
}

func (d *designer) refuse(at spec.Assignment, format string, args ...any) *fault.Error {
	e := fault.New(fault.Invalid, format, args...).WithPath(at.Path).WithFile(at.Origin.Source, at.Origin.Line, at.Origin.Column)
	d.faults = append(d.faults, e)
	return e
}

// withBaseline returns the baseline with some levels changed: a level of every factor that then applies.
func (d *designer) withBaseline(levels map[string]string) map[string]string {
	all := map[string]string{}
	if d.a.Baseline != nil {
		maps.Copy(all, d.a.Baseline.Levels)
	}
	maps.Copy(all, levels)
	return d.named(all)
}

// checkBaseline asks for a level of every factor with conditions that applies in the baseline. Of the others it may name one: that
// is the level which they have where they do apply.
func (d *designer) checkBaseline() {
	b, free := d.withBaseline(nil), d.a.Design == spec.Random || d.a.Design == spec.Search
	for _, f := range d.a.Factors {
		if _, has := b[f.Name]; !has && !free && f.Applies(b, d.valueOf(b, ofLevels(d.a, b))) {
			d.refuse(*d.a.Baseline, "no level of factor %s, which applies here", f.Name).WithHint("its levels are %s", strings.Join(levelNames(f), ", "))
		}
	}
}

// add appends the cell of these levels. by says what asked for it.
func (d *designer) add(levels map[string]string, by string) {
	name := d.variantName(levels)
	d.names[name] = by
	d.cells = append(d.cells, Cell{Variant: name, Levels: levels, Overrides: overridesOf(d.a, levels)})
}

// once adds a cell that must not be there already.
func (d *designer) once(at spec.Assignment, format string) {
	levels := d.withBaseline(at.Levels)
	for _, f := range slices.Sorted(maps.Keys(at.Levels)) {
		if _, has := levels[f]; !has {
			d.refuse(at, "factor %s does not apply with these levels", f).WithHint("leave it out, or choose levels under which its conditions hold")
			return
		}
	}
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

// oneAtATime adds the levels of each factor beside the baseline's. Those of a factor that does not apply there stand beside the
// levels that make it apply.
func (d *designer) oneAtATime() {
	for _, f := range d.a.Factors {
		for _, way := range d.beside(d.a.Baseline.Levels, f) {
			for _, l := range f.Levels {
				levels := d.withBaseline(merged(way, map[string]string{f.Name: l.Name}))
				if d.names[d.variantName(levels)] == "" {
					d.add(levels, "factor "+f.Name)
				}
			}
		}
	}
}

// combinations calls do for every combination of levels that is possible, the last factor varying fastest, until it returns false.
func (d *designer) combinations(do func(levels map[string]string) bool) {
	var walk func(levels map[string]string, rest []spec.Factor) bool
	walk = func(levels map[string]string, rest []spec.Factor) bool {
		if len(rest) == 0 {
			return do(levels)
		}
		if f := rest[0]; f.Applies(levels, d.valueOf(levels, ofLevels(d.a, levels))) {
			for _, l := range f.Levels {
				if !walk(merged(levels, map[string]string{f.Name: l.Name}), rest[1:]) {
					return false
				}
			}
			return true
		}
		return walk(levels, rest[1:])
	}
	walk(map[string]string{}, d.a.InOrder())
}

// grid adds every combination that no exclude matches, the last factor varying fastest.
func (d *designer) grid() {
	hits := make([]int, len(d.a.Exclude))
	possible, all := 0, 1
	for _, f := range d.a.Factors {
		all *= max(1, len(f.Levels))
	}
	d.combinations(func(levels map[string]string) bool {
		possible++
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
		return true
	})
	d.impossible = all - possible
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
func (d *designer) tooMany() *fault.Error {
	a := d.a
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
		if a.Conditional() {
			n := int64(0)
			d.combinations(func(map[string]string) bool { n++; return n <= MaxTrials })
			cells.SetInt64(n)
			how += " where they apply"
		}
	case spec.List:
		cells.SetInt64(int64(1 + len(a.List)))
	case spec.Random:
		cells.SetInt64(int64(a.Trials))
		if a.Baseline != nil {
			cells.Add(cells, big.NewInt(1))
		}
	case spec.Search:
		cells.SetInt64(int64(a.Budget.Trials))
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
	if a.Design == spec.Search {
		return refuse(a, "budget", "%s", e.Msg).WithHint("try fewer: budget: {trials: %d}", max(1, MaxTrials/seeds))
	}
	if a.Design == spec.Random {
		return e.WithHint("draw fewer: trials: %d", max(1, MaxTrials/seeds-(cells.Int64()-int64(a.Trials))))
	}
	return e.WithHint("leave out factors or levels, or use design: one-at-a-time, or design: random with trials: 100")
}
