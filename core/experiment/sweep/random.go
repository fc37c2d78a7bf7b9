package sweep

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/random"
)

// random draws cells. What cell n gets of a factor depends on the random seed, the factor's name and n alone:
// more trials, other factors or another order of the file do not change it.
func (d *designer) random() {
	if d.wholeRanges(); len(d.faults) > 0 {
		return
	}
	for n := 1; n <= d.a.Trials; n++ {
		drawn, levels := map[string][]spec.Override{}, map[string]string{}
		for _, f := range d.a.Factors {
			s := random.New(d.a.RandomSeed, "sweep "+f.Name, n)
			if f.Draw == nil {
				names := levelNames(f)
				slices.Sort(names)
				l := f.Level(names[s.IntN(len(names))])
				levels[f.Name], drawn[f.Name] = l.Name, l.Overrides
				continue
			}
			v := drawValue(f.Draw, isWhole(f.Draw, d.base), s)
			levels[f.Name], drawn[f.Name] = fmt.Sprint(v), []spec.Override{f.Draw.Override(v)}
		}
		c := Cell{Variant: fmt.Sprintf("random-%d", n), Overrides: []spec.Override{}}
		c.Levels = d.applying(levels, func(factor string) []spec.Override { return drawn[factor] })
		for _, f := range d.a.Factors {
			if _, has := c.Levels[f.Name]; has {
				c.Overrides = append(c.Overrides, drawn[f.Name]...)
			}
		}
		d.cells = append(d.cells, c)
	}
}

// wholeRanges refuses ranges with fractions as bounds of keys that are whole numbers.
func (d *designer) wholeRanges() {
	for _, f := range d.a.Factors {
		if f.Draw == nil || d.base == nil || f.Draw.Whole {
			continue
		}
		if _, whole := d.base.At(f.Draw.Key).(int64); whole {
			d.refuse(spec.Assignment{Path: f.Draw.Path, Origin: f.Draw.Origin}, "%s is a whole number, the bounds are not", f.Draw.Key).
				WithHint("write [%.0f, %.0f]", f.Draw.Low, f.Draw.High)
		}
	}
}

// isWhole reports whether a range gives whole numbers. It does when its key has one in the spec; when the key
// has no value, the bounds decide.
func isWhole(d *spec.Draw, base *spec.Spec) bool {
	if base != nil {
		switch base.At(d.Key).(type) {
		case int64:
			return d.Whole
		case float64:
			return false
		}
	}
	return d.Whole
}

// drawValue draws a value of d: an int64 from both bounds on, or a float64 of four digits, so that it is the
// same on every machine and can be typed.
func drawValue(d *spec.Draw, whole bool, s *random.Stream) any {
	low, high := d.Low, d.High
	if whole && !d.Log {
		return int64(low) + int64(s.IntN(int(high-low)+1))
	}
	v := s.Range(low, high)
	if d.Log {
		v = math.Exp(s.Range(math.Log(low), math.Log(high)))
	}
	if whole {
		return int64(math.Max(low, math.Min(high, math.Round(v))))
	}
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return math.Max(low, math.Min(high, v))
}

// checkBounds returns the faults of the ends of every range, which may not be drawn, where known has none.
func checkBounds(d *spec.Draft, base *spec.Spec, known fault.List) fault.List {
	var faults fault.List
	p := picker{d.Ablate, base}
	levels := map[string]string{}
	if d.Ablate.Baseline != nil {
		levels = d.Ablate.Baseline.Levels
	}
	for _, f := range d.Ablate.Factors {
		if f.Draw == nil {
			continue
		}
		ways := p.beside(levels, f)
		if len(ways) == 0 {
			continue // it never applies, which is another fault
		}
		around := overridesOf(d.Ablate, p.named(merged(levels, ways[0])))
		for _, v := range []float64{f.Draw.Low, f.Draw.High} {
			var value any = v
			if isWhole(f.Draw, base) {
				value = int64(v)
			}
			_, more := d.Resolve(spec.Choice{Variant: Baseline, Overrides: append(around[:len(around):len(around)], f.Draw.Override(value))})
			for _, e := range more {
				if at(f.Draw, e) && !isDrawn(d.Ablate, known, e) {
					faults = append(faults, e)
				}
			}
		}
	}
	return faults
}

func at(d *spec.Draw, e *fault.Error) bool {
	return e.File == d.Origin.Source && e.Line == d.Origin.Line && e.Column == d.Origin.Column
}

// isDrawn reports whether e is about a range that another fault is about already, since each value drawn from
// the range may have a fault.
func isDrawn(a *spec.Ablate, faults fault.List, e *fault.Error) bool {
	for _, f := range a.Factors {
		if f.Draw != nil && at(f.Draw, e) {
			return slices.ContainsFunc(faults, func(other *fault.Error) bool { return at(f.Draw, other) })
		}
	}
	return false
}
