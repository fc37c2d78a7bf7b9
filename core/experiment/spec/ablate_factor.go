package spec

import (
	"math"
	"regexp"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"tandem/core/clip"
)

func itoa(i int) string { return strconv.Itoa(i) }

// levelForm matches the names of factors and levels, which the names of variants are made of. Numbers fit.
var levelForm = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,60}$`)

func (x *ablater) levelName(e pair, what string) bool {
	if levelForm.MatchString(e.key) {
		return true
	}
	x.say(e.o.key(), e.p, "%q is not a name of a %s", e.key, what).WithHint("up to 60 letters, digits, dots, dashes, underscores and plus signs")
	return false
}

func (x *ablater) factors(at path) {
	e, given := x.keys["factors"]
	if !given {
		x.reportMissing(at.with("factors"), "write factors: {pool: {attention: {}, average: {image.with.pool: average}}}")
		return
	}
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write {a factor: {a level: {a key: its value}}}")
		return
	}
	if len(e.node.Content) == 0 {
		x.say(e.o, e.p, "no factors").WithHint("write {a factor: {a level: {a key: its value}}}")
	}
	for _, f := range x.pairs(e.node, e.p) {
		if x.levelName(f, "factor") {
			x.a.Factors = append(x.a.Factors, x.factor(f))
		}
	}
}

// shortKeys lists the keys of a factor that varies one key without named levels.
var shortKeys = []string{"key", "choices", "range", "log_range"}

func (x *ablater) factor(e pair) Factor {
	f := Factor{Name: e.key, Origin: e.o}
	if e.node.Kind != yaml.MappingNode {
		x.say(e.o, e.p, "want a map, not %s", describe(e.node)).WithHint("write {a level: {a key: its value}}, or {key: train.lr, choices: [1e-3, 1e-4]}")
		return f
	}
	if len(e.node.Content) == 0 {
		x.say(e.o, e.p, "no levels").WithHint("write {a level: {a key: its value}}; {} as a level changes nothing")
		return f
	}
	children := x.pairs(e.node, e.p)
	if i := slices.IndexFunc(children, func(c pair) bool { return c.key == whenKey }); i >= 0 {
		x.whens[f.Name] = children[i]
		children = slices.Delete(children, i, i+1)
	}
	if len(children) == 0 {
		x.say(e.o, e.p, "no levels").WithHint("write {a level: {a key: its value}, when: {…}}")
		return f
	}
	if slices.ContainsFunc(children, func(c pair) bool { return slices.Contains(shortKeys, c.key) && c.node.Kind != yaml.MappingNode }) {
		x.shortForm(&f, e, children)
		return f
	}
	for _, c := range children {
		if !x.levelName(c, "level") {
			continue
		}
		l := Level{Name: c.key}
		if c.node.Kind != yaml.MappingNode {
			x.say(c.o, c.p, "a level is a map of what it sets, not %s", describe(c.node)).
				WithHint("write %s: {image.with.pool: average}, or %[1]s: {} for what the spec says", c.key)
		} else {
			for _, o := range x.pairs(c.node, c.p) {
				l.Overrides = x.override(l.Overrides, o, f.Name+"="+c.key)
			}
		}
		f.Levels = append(f.Levels, l)
	}
	return f
}

// notInLevels lists, with the reason, the keys that the sweep itself sets or that make no sense in a level.
var notInLevels = map[string]string{
	"seed": "the seeds of a sweep are ablate.seeds", "variant": "a sweep names its variants by their levels",
	"name": "all variants belong to one experiment", "extends": "a level cannot extend", "ablate": "a level cannot hold a sweep",
}

// override reads one key of a level and appends it.
func (x *ablater) override(list []Override, e pair, from string) []Override {
	p := parsePath(e.key)
	if slices.Contains(p, "") {
		x.say(e.o.key(), e.p, "%q is no path", e.key).WithHint("write the path of a key, such as image.with.pool or eval.0.name")
		return list
	}
	if hint, no := notInLevels[p[0]]; no {
		x.say(e.o.key(), e.p, "cannot be set by a level").WithHint("%s", hint)
		return list
	}
	c := converter{reader: x.reader, file: x.converter.file, layer: layer{origins: map[string]Origin{p.join(): e.o}}}
	v := c.value(e.keyed, e.node, p)
	return append(list, Override{Path: e.key, Value: v, Origin: e.o, From: from, p: p, origins: c.layer.origins})
}

// shortForm reads {key: train.lr, log_range: [1e-4, 1e-2]} and {key: …, choices: […]}.
func (x *ablater) shortForm(f *Factor, e pair, children []pair) {
	given := map[string]pair{}
	for _, c := range children {
		if !slices.Contains(shortKeys, c.key) {
			x.say(c.o.key(), c.p, "unknown key").WithHint("%s", acceptsHint("a factor of one key", c.key, append(slices.Clone(shortKeys), whenKey)))
			continue
		}
		given[c.key] = c
	}
	k, ok := given["key"]
	if !ok {
		x.say(e.o.key(), e.p.with("key"), "required, but not given").WithHint("write {key: train.lr, …} with the key that varies")
		return
	}
	name, ok := x.scalarOf(k, clip.Field{Name: "key", Type: clip.TypeString}).(string)
	delete(given, "key")
	if len(given) != 1 {
		x.say(e.o.key(), e.p, "%d of choices, range and log_range, want one", len(given)).WithHint("write {key: train.lr, log_range: [1e-4, 1e-2]}")
		return
	}
	if !ok {
		return
	}
	for what, c := range given {
		if what == "choices" {
			x.choices(f, name, c)
		} else {
			x.draw(f, name, c, what == "log_range")
		}
	}
}

// choices adds levels that are named after their values.
func (x *ablater) choices(f *Factor, key string, e pair) {
	if e.node.Kind != yaml.SequenceNode || len(e.node.Content) == 0 {
		x.say(e.o, e.p, "want a list of values, not %s", describeEmptyOr(e.node)).WithHint("write choices: [64, 128]")
		return
	}
	for i, n := range e.node.Content {
		p := e.p.with(itoa(i))
		o := x.at(n, n)
		switch {
		case n.Kind != yaml.ScalarNode || !levelForm.MatchString(n.Value):
			x.say(o, p, "%s cannot name a level", describe(n)).WithHint("give the levels names: {first: {%s: …}, second: {%s: …}}", key, key)
			continue
		case f.Level(n.Value) != nil:
			x.say(o, p, "%s is a choice already", n.Value).WithHint("remove one of the two")
			continue
		}
		list := x.override(nil, pair{key: key, node: n, o: o, p: p, keyed: n}, f.Name+"="+n.Value)
		f.Levels = append(f.Levels, Level{n.Value, list})
	}
}

func (x *ablater) draw(f *Factor, key string, e pair, log bool) {
	if x.a.Design != Random && x.a.Design != Search && x.a.Design != "" {
		x.say(e.o.key(), e.p, "has no effect with design %s", x.a.Design).WithHint("design: random and design: search take values from ranges; others need choices or named levels")
		return
	}
	raw := x.converter.value(e.keyed, e.node, e.p)
	list, ok := x.checker.field(clip.Field{Name: e.key, Type: clip.TypeList, Elem: clip.TypeFloat, Len: 2, Help: "write [the smallest value, the largest]"}, raw, e.p).([]any)
	if !ok {
		return
	}
	d := &Draw{Key: key, Path: e.p.String(), Origin: e.o, Low: list[0].(float64), High: list[1].(float64), Log: log, Whole: true}
	for _, v := range raw.([]any) {
		if n, isInt := v.(int64); !isInt || max(n, -n) > 1<<53 {
			d.Whole = false
		}
	}
	switch {
	case log && math.Min(d.Low, d.High) <= 0:
		x.say(x.checker.origin(e.p.with(itoa(slices.Index(list, any(math.Min(d.Low, d.High)))))), e.p, "%s has no logarithm", show(math.Min(d.Low, d.High))).
			WithHint("both bounds of a log_range are more than 0; write range for others")
		return
	case d.Low > d.High:
		x.say(e.o, e.p, "%s is more than %s", show(d.Low), show(d.High)).WithHint("the smaller first: [%s, %s]", show(d.High), show(d.Low))
		return
	case d.Low == d.High:
		x.say(e.o, e.p, "the range holds one value").WithHint("set %s in the spec instead", key)
		return
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "0", Line: e.node.Line, Column: e.node.Column}
	if o := x.override(nil, pair{key: key, node: n, o: e.o, p: e.p, keyed: e.keyed}, f.Name); len(o) > 0 {
		d.override = o[0]
		f.Draw = d
	}
}
