package spec

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// whenKey is the key of a factor that says where it applies.
const whenKey = "when"

// Condition says what must hold of a cell for a factor to be part of it: another factor has one of some levels, or a key of the spec
// one of some values.
type Condition struct {
	Factor string // "": Key is meant
	Levels []string
	Key    string // loss.plugin
	Values []any
	Path   string // ablate.factors.bias.when.loss
	Origin Origin
}

// Holds reports whether c holds of a cell with these levels, by factor, whose spec has value at a key.
func (c Condition) Holds(levels map[string]string, value func(key string) any) bool {
	if c.Factor != "" {
		level, has := levels[c.Factor]
		return has && slices.Contains(c.Levels, level)
	}
	return c.Allows(value(c.Key))
}

// Allows reports whether a value is one of those that c asks its key to have.
func (c Condition) Allows(value any) bool {
	return slices.ContainsFunc(c.Values, func(v any) bool { return sameJSON(v, value) })
}

// Applies reports whether a cell has the factor: whether all its conditions hold.
func (f Factor) Applies(levels map[string]string, value func(key string) any) bool {
	return !slices.ContainsFunc(f.When, func(c Condition) bool { return !c.Holds(levels, value) })
}

// Sets returns the value that o gives a key, and whether it gives one.
func (o Override) Sets(key string) (any, bool) {
	p := parsePath(key)
	if len(p) < len(o.p) || !slices.Equal(p[:len(o.p)], o.p) {
		return nil, false
	}
	if len(p) == len(o.p) {
		return o.Value, true
	}
	m, _ := o.Value.(map[string]any)
	v := lookup(m, p[len(o.p):])
	return v, v != nil
}

// sets reports whether some level of f gives a key a value.
func (f Factor) sets(key string) bool {
	if f.Draw != nil {
		_, has := f.Draw.override.Sets(key)
		return has
	}
	return slices.ContainsFunc(f.Levels, func(l Level) bool {
		return slices.ContainsFunc(l.Overrides, func(o Override) bool { _, has := o.Sets(key); return has })
	})
}

// conditions reads the conditions of the factors, once all factors are known, and orders the factors by them.
func (x *ablater) conditions() {
	for i := range x.a.Factors {
		f := &x.a.Factors[i]
		e, given := x.whens[f.Name]
		if !given {
			continue
		}
		if e.node.Kind != yaml.MappingNode || len(e.node.Content) == 0 {
			x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write when: {another factor: its level}, or when: {loss.plugin: siglip}")
			continue
		}
		for _, c := range x.pairs(e.node, e.p) {
			if one, ok := x.condition(c); ok {
				f.When = append(f.When, one)
			}
		}
	}
	x.order()
}

func (x *ablater) condition(e pair) (Condition, bool) {
	c := Condition{Path: e.p.String(), Origin: e.o}
	nodes := []*yaml.Node{e.node}
	if e.node.Kind == yaml.SequenceNode {
		nodes = e.node.Content
	}
	if len(nodes) == 0 || slices.ContainsFunc(nodes, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }) {
		x.say(e.o, e.p, "want a value or a list of them, not %s", describeEmptyOr(e.node)).WithHint("write when: {loss: siglip}, or when: {loss: [siglip, dcl]}")
		return c, false
	}
	var names []string
	for _, f := range x.a.Factors {
		names = append(names, f.Name)
	}
	i := slices.Index(names, e.key)
	if i < 0 && strings.ContainsAny(e.key, ".[") {
		c.Key = e.key
		for _, n := range nodes {
			c.Values = append(c.Values, x.converter.value(e.keyed, n, e.p))
		}
		return c, true
	}
	if i < 0 {
		x.say(e.o.key(), e.p, "unknown factor").WithHint("%s", chooseHint("the factors are", e.key, names))
		return c, false
	}
	f := x.a.Factors[i]
	if f.Draw != nil {
		x.say(e.o, e.p, "factor %s has a range, no levels", f.Name).WithHint("a condition needs choices or named levels")
		return c, false
	}
	c.Factor = e.key
	for _, n := range nodes {
		if f.Level(n.Value) == nil && len(f.Levels) > 0 {
			x.say(x.at(n, n), e.p, "unknown level %q", n.Value).WithHint("%s", chooseHint("the levels of "+f.Name+" are", n.Value, levelNames(f)))
			return c, false
		}
		c.Levels = append(c.Levels, n.Value)
	}
	return c, true
}

// parents returns the factors that c depends on.
func (a *Ablate) parents(c Condition) (list []string) {
	for _, f := range a.Factors {
		if f.Name == c.Factor || c.Key != "" && f.sets(c.Key) {
			list = append(list, f.Name)
		}
	}
	return list
}

// order finds the order of the factors in which all that a factor depends on come before it, else that of the file.
func (x *ablater) order() {
	const begun, placed = 1, 2
	state := map[string]int{}
	var place func(i int, chain []string) bool
	place = func(i int, chain []string) bool {
		f := x.a.Factors[i]
		if state[f.Name] == placed {
			return true
		}
		chain = append(chain, f.Name)
		state[f.Name] = begun
		for _, c := range f.When {
			for _, parent := range x.a.parents(c) {
				if state[parent] == begun {
					x.say(c.Origin, parsePath(c.Path), "%s", fmt.Sprintf("a factor cannot depend on itself: %s", strings.Join(append(chain, parent), " → "))).
						WithHint("leave out one of these conditions")
					return false
				}
				if !place(slices.IndexFunc(x.a.Factors, func(f Factor) bool { return f.Name == parent }), chain) {
					return false
				}
			}
		}
		state[f.Name] = placed
		x.a.order = append(x.a.order, i)
		return true
	}
	for i := range x.a.Factors {
		if !place(i, nil) {
			return
		}
	}
}

// InOrder returns the factors so that all that a factor depends on come before it.
func (a *Ablate) InOrder() []Factor {
	list := make([]Factor, 0, len(a.order))
	for _, i := range a.order {
		list = append(list, a.Factors[i])
	}
	return list
}

// Conditional reports whether some factor has conditions.
func (a *Ablate) Conditional() bool {
	return slices.ContainsFunc(a.Factors, func(f Factor) bool { return len(f.When) > 0 })
}

// DependsOn reports whether a condition of f is about another factor, or about a key that the other sets.
func (a *Ablate) DependsOn(f Factor, other string) bool {
	return slices.ContainsFunc(f.When, func(c Condition) bool { return slices.Contains(a.parents(c), other) })
}
