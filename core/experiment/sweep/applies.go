package sweep

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// A picker says which factors a cell has: those whose conditions hold of the levels and values of the others.
type picker struct {
	a    *spec.Ablate
	base *spec.Spec // nil when the spec has faults
}

// applying returns a choice of levels without those of factors that do not apply. overrides gives what a factor sets.
func (p picker) applying(levels map[string]string, overrides func(factor string) []spec.Override) map[string]string {
	if !p.a.Conditional() {
		return levels
	}
	kept := map[string]string{}
	value := p.valueOf(kept, overrides)
	for _, f := range p.a.InOrder() {
		if level, has := levels[f.Name]; has && f.Applies(kept, value) {
			kept[f.Name] = level
		}
	}
	return kept
}

// valueOf returns what a key has in a cell of these levels.
func (p picker) valueOf(levels map[string]string, overrides func(factor string) []spec.Override) func(key string) any {
	return func(key string) any {
		for _, f := range p.a.Factors {
			if _, has := levels[f.Name]; !has {
				continue
			}
			for _, o := range overrides(f.Name) {
				if v, sets := o.Sets(key); sets {
					return v
				}
			}
		}
		if p.base == nil {
			return nil
		}
		return p.base.At(key)
	}
}

// ofLevels returns what the named levels of factors set.
func ofLevels(a *spec.Ablate, levels map[string]string) func(factor string) []spec.Override {
	return func(name string) []spec.Override {
		for _, f := range a.Factors {
			if l := f.Level(levels[f.Name]); f.Name == name && l != nil {
				return l.Overrides
			}
		}
		return nil
	}
}

// named returns the named levels of a choice that apply.
func (p picker) named(levels map[string]string) map[string]string {
	return p.applying(levels, ofLevels(p.a, levels))
}

// beside returns the least changes to a choice of levels under which a factor applies: none where it does, else one for each level
// that fulfils a condition that does not hold.
func (p picker) beside(levels map[string]string, f spec.Factor) []map[string]string {
	ways := []map[string]string{{}}
	for _, c := range f.When {
		var next []map[string]string
		for _, way := range ways {
			with := merged(levels, way)
			now := p.named(with)
			if c.Holds(now, p.valueOf(now, ofLevels(p.a, now))) {
				next = append(next, way)
				continue
			}
			for _, parent := range p.a.Factors {
				for _, l := range parent.Levels {
					if !fulfils(c, parent.Name, l) {
						continue
					}
					for _, deeper := range p.beside(with, parent) {
						next = append(next, merged(merged(way, deeper), map[string]string{parent.Name: l.Name}))
					}
				}
			}
		}
		ways = next
	}
	return ways
}

// fulfils reports whether a level of a factor makes a condition true.
func fulfils(c spec.Condition, factor string, l spec.Level) bool {
	if c.Factor != "" {
		return factor == c.Factor && slices.Contains(c.Levels, l.Name)
	}
	return slices.ContainsFunc(l.Overrides, func(o spec.Override) bool {
		v, sets := o.Sets(c.Key)
		return sets && c.Allows(v)
	})
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// checkConditions refuses conditions on keys that nothing has, or that never have the value asked for.
func (p picker) checkConditions() (faults fault.List) {
	if p.base == nil {
		return nil
	}
	for _, f := range p.a.Factors {
		for _, c := range f.When {
			if c.Key == "" {
				continue
			}
			var values []any
			if v := p.base.At(c.Key); v != nil {
				values = append(values, v)
			}
			drawn := false
			for _, other := range p.a.Factors {
				if other.Draw != nil {
					_, sets := other.Draw.Override(0.0).Sets(c.Key)
					drawn = drawn || sets
				}
				for _, l := range other.Levels {
					for _, o := range l.Overrides {
						if v, sets := o.Sets(c.Key); sets {
							values = append(values, v)
						}
					}
				}
			}
			e := fault.New(fault.Invalid, "").WithPath(c.Path).WithFile(c.Origin.Source, c.Origin.Line, c.Origin.Column)
			switch {
			case drawn:
				e.Msg = fmt.Sprintf("%s is taken from a range", c.Key)
				e.WithHint("a condition needs choices or named levels")
			case len(values) == 0:
				e.Msg = fmt.Sprintf("neither the spec nor a factor has %s", c.Key)
				e.WithHint("write the path of a key as --set takes it, such as loss.plugin, or the name of a factor")
			case !slices.ContainsFunc(values, c.Allows):
				e.Msg = fmt.Sprintf("%s is never %s", c.Key, texts(c.Values))
				e.WithHint("it is %s here", texts(values))
			default:
				continue
			}
			faults = append(faults, e)
		}
	}
	return faults
}

// texts lists values, each once.
func texts(values []any) string {
	var words []string
	for _, v := range values {
		if text := fmt.Sprint(v); !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return strings.Join(words, " or ")
}
