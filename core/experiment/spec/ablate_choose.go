package spec

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"tandem/core/fault"
)

// baseline reads the levels that the others are compared with. It names a level of every factor, except with
// Random and Search, where factors left out stay as the spec says, and where a factor has conditions.
func (x *ablater) baseline(at path) {
	e, given := x.keys["baseline"]
	if !given {
		if x.lacks("baseline") {
			x.reportMissing(at.with("baseline"), "write baseline: %s, or whichever levels the others are to be compared with", x.firstLevels())
		}
		return
	}
	b, ok := x.assignment(e)
	if !ok {
		return
	}
	x.a.Baseline = &b
	if x.a.Design == Random || x.a.Design == Search {
		return
	}
	for _, f := range x.a.Factors {
		_, conditional := x.whens[f.Name]
		if _, named := b.Levels[f.Name]; !named && len(f.Levels) > 0 && !conditional && !x.hasFault(e.p.with(f.Name)) {
			x.say(e.o.key(), e.p, "no level of factor %s", f.Name).WithHint("%s", acceptsHint(f.Name, "", levelNames(f)))
		}
	}
}

// firstLevels writes a possible baseline, for hints.
func (x *ablater) firstLevels() string {
	var parts []string
	for _, f := range x.a.Factors {
		if len(f.Levels) > 0 {
			parts = append(parts, f.Name+": "+f.Levels[0].Name)
		}
	}
	if len(parts) == 0 {
		return "{a factor: its level}"
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// hasFault reports whether p has a fault already.
func (x *ablater) hasFault(p path) bool {
	return slices.ContainsFunc(x.checker.faults, func(e *fault.Error) bool { return e.Path == p.String() })
}

// assignments reads a list of {factor: level}.
func (x *ablater) assignments(name string) []Assignment {
	e, given := x.keys[name]
	if !given {
		return nil
	}
	if e.node.Kind != yaml.SequenceNode || len(e.node.Content) == 0 {
		x.say(e.o, e.p, "want a list of maps, not %s", describeEmptyOr(e.node)).
			WithHint("write %s: [{a factor: its level}]", name)
		return nil
	}
	var out []Assignment
	for i, n := range e.node.Content {
		p := e.p.with(itoa(i))
		a, ok := x.assignment(pair{node: n, o: x.at(n, n), p: p, keyed: n})
		if ok && len(n.Content) == 0 {
			x.say(a.Origin, p, "names no factor").WithHint("write {a factor: its level}")
			ok = false
		}
		if ok {
			out = append(out, a)
		}
	}
	return out
}

// describeEmptyOr describes what should be a list with something in it.
func describeEmptyOr(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		return "an empty list"
	}
	return describe(n)
}

// assignment reads {factor: level}. It returns false after a fault that leaves nothing to work with.
func (x *ablater) assignment(e pair) (Assignment, bool) {
	a := Assignment{Levels: map[string]string{}, Origin: e.o, Path: e.p.String()}
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write {a factor: its level}")
		return a, false
	}
	var names []string
	for _, f := range x.a.Factors {
		names = append(names, f.Name)
	}
	before := len(x.checker.faults)
	for _, c := range x.pairs(e.node, e.p) {
		i := slices.IndexFunc(x.a.Factors, func(f Factor) bool { return f.Name == c.key })
		if i < 0 {
			if len(names) == 0 {
				continue // there is a fault about that
			}
			x.say(c.o.key(), c.p, "unknown factor").WithHint("%s", chooseHint("the factors are", c.key, names))
			continue
		}
		f := x.a.Factors[i]
		switch {
		case c.node.Kind != yaml.ScalarNode:
			x.say(c.o, c.p, "want the name of a level, not %s", describe(c.node)).WithHint("%s", chooseHint("the levels of "+f.Name+" are", "", levelNames(f)))
		case f.Draw != nil:
			x.say(c.o, c.p, "factor %s has a range, no levels", f.Name).WithHint("leave it out: %s stays as the spec says", f.Draw.Key)
		case f.Level(c.node.Value) == nil && len(f.Levels) > 0:
			x.say(c.o, c.p, "unknown level %q", c.node.Value).WithHint("%s", chooseHint("the levels of "+f.Name+" are", c.node.Value, levelNames(f)))
		default:
			a.Levels[c.key] = c.node.Value
		}
	}
	return a, len(x.checker.faults) == before || len(a.Levels) > 0
}

func levelNames(f Factor) []string {
	names := make([]string, len(f.Levels))
	for i, l := range f.Levels {
		names[i] = l.Name
	}
	return names
}

// chooseHint returns a hint: what there is, and which of it word is close to.
func chooseHint(what, word string, names []string) string {
	text := what + " " + strings.Join(names, ", ")
	if near := fault.Nearest(word, names); near != "" && word != "" {
		text += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return text
}

// parsePath reads image.with.pool, eval.0.name, eval[0].name or data.train[stamps].weight. What stands in brackets is one
// element whatever is in it.
func parsePath(text string) path {
	var out path
	text = strings.TrimSpace(text)
	for {
		end := strings.IndexAny(text, ".[")
		if end < 0 {
			return append(out, text)
		}
		if end > 0 || len(out) == 0 || text[0] == '.' {
			out = append(out, text[:end])
		}
		if text[end] == '.' {
			text = text[end+1:]
			continue
		}
		inside, rest, closed := strings.Cut(text[end+1:], "]")
		out = append(out, inside)
		if text = rest; !closed || text == "" {
			return out
		}
		text = strings.TrimPrefix(text, ".")
	}
}

// overlaps reports overrides of which one would undo the other: they set the same place to another value, or a
// place inside another. The order of factors would then decide the value, although that order means nothing.
func (c *checker) overlaps(list []Override) {
	for i, b := range list {
		for _, a := range list[:i] {
			n := min(len(a.p), len(b.p))
			if !slices.Equal(a.p[:n], b.p[:n]) || len(a.p) == len(b.p) && sameJSON(a.Value, b.Value) {
				continue
			}
			first, second := a, b
			if o, q := a.Origin, b.Origin; o.Line > q.Line || o.Line == q.Line && o.Column > q.Column {
				first, second = b, a
			}
			e := c.faultAt(second.Origin.key(), second.p, "%s sets what %s sets", second.From, first.From)
			e.WithHint("let one factor own %s, or keep the two levels out of one cell", path(first.p[:n]))
			if first.From == second.From {
				e.Msg = fmt.Sprintf("%s sets %s and %s", second.From, first.Path, second.Path)
				e.WithHint("one of them is inside the other; keep one")
			}
		}
	}
}

// choose lays a choice over m.
func (m *merged) choose(choice Choice) fault.List {
	list := make([]assignment, 0, len(choice.Overrides)+1)
	for _, o := range choice.Overrides {
		list = append(list, assignment{o.p, o.Value, o.Origin, o.origins})
	}
	if choice.Variant != "" {
		p, o := path{"variant"}, Origin{Source: "sweep"}
		list = append(list, assignment{p, choice.Variant, o, map[string]Origin{p.join(): o}})
	}
	if e := m.set(list...); e != nil {
		return fault.List{e}
	}
	return nil
}

// WithSeed returns s with another seed. The two share nothing that either could change.
func (s *Spec) WithSeed(seed Seed) *Spec {
	out := *s
	out.tree = clone(s.tree).(map[string]any)
	out.tree["seed"] = int64(seed.Value)
	out.origins = make(map[string]Origin, len(s.origins))
	for p, o := range s.origins {
		out.origins[p] = o
	}
	out.origins["seed"] = seed.Origin
	out.Seed = seed.Value
	return &out
}

// At returns the resolved value at a path such as train.lr; nil when there is none. Whole numbers are int64,
// others float64.
func (s *Spec) At(at string) any { return lookup(s.tree, parsePath(at)) }
