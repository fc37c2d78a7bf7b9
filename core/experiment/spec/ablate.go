package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"tandem/core/clip"
	"tandem/core/fault"
)

// The designs of a sweep say which cells of the space that the factors span are run.
const (
	OneAtATime = "one-at-a-time" // the baseline, and each other level of each factor beside the baseline's levels
	Grid       = "grid"          // every combination of levels
	List       = "list"          // the combinations listed
	Random     = "random"        // combinations drawn
	Search     = "search"        // combinations chosen one after another, by the results of those before
)

// The directions say which way a metric is good.
const (
	Up   = "up"
	Down = "down"
	None = "none"
)

// The analyses say how the noise of a difference is known.
const (
	Paired = "paired" // from its own pairs of seeds
	Pooled = "pooled" // from all variants
)

var designs = []string{OneAtATime, Grid, List, Random, Search}

// Ablate holds the ablate block of a spec, well formed: every factor and level that it names exists.
type Ablate struct {
	Design   string
	Factors  []Factor    // in file order, names unique
	Baseline *Assignment // nil with Random and Search only: none is named
	Exclude  []Assignment
	Include  []Assignment
	List     []Assignment
	Trials   int    // of Random, for each seed
	Budget   Budget // of Search
	Confirm  int    // of Search: fresh seeds that the winner and the baseline are run again with
	// RandomSeed seeds what Random draws and Search suggests, not the trials.
	RandomSeed uint64
	Seeds      []Seed            // empty: the spec's own
	Metric     string            // "": the spec's DecidingMetric
	Choose     string            // the metric that chooses among variants; "": Metric
	Directions map[string]string // Up, Down or None by metric, where the spec says so
	Looks      []int             // numbers of seeds at which the table is looked at, ascending, the last all; nil: once
	Analysis   string            // Paired or Pooled; "": as the design asks
	NoiseFloor bool              // the baseline is run again under other seeds
	Retries    Retries
	Stop       *Stop // nil: nothing is stopped early

	Origin  Origin // of the key
	Places  map[string]Origin
	order   []int // of Factors: what one depends on comes before it
	lastRow int
}

// Factor describes what varies: between named levels, or over a range that Random and Search take values from.
type Factor struct {
	Name   string
	Levels []Level // in file order, names unique; none with a Draw
	Draw   *Draw
	When   []Condition // all of which must hold where the factor is to apply
	Origin Origin
}

// Level returns the factor's level of a name; nil when it has none.
func (f Factor) Level(name string) *Level {
	if i := slices.IndexFunc(f.Levels, func(l Level) bool { return l.Name == name }); i >= 0 {
		return &f.Levels[i]
	}
	return nil
}

// Level describes a named setting of a factor.
type Level struct {
	Name      string
	Overrides []Override
}

// Draw describes a range of values of one key.
type Draw struct {
	Key       string
	Path      string // ablate.factors.lr.range
	Origin    Origin
	Low, High float64 // Low < High; both positive with Log
	Log       bool    // uniform in the logarithm
	Whole     bool    // both bounds are written as whole numbers
	override  Override
}

// Override returns an override that sets d's key to value.
func (d Draw) Override(value any) Override {
	o := d.override
	o.Value = value
	return o
}

// Assignment chooses levels of some or all factors.
type Assignment struct {
	Levels map[string]string // by factor
	Origin Origin
	Path   string
}

// Seed holds one seed. Every cell runs with each seed.
type Seed struct {
	Value  uint64
	Origin Origin
}

// Override holds a value that a level sets.
type Override struct {
	Path   string `json:"key"`   // image.with.pool, eval.0.name
	Value  any    `json:"value"` // bool, int64, float64, string, []any or map[string]any
	Origin Origin `json:"-"`
	From   string `json:"-"` // the factor and level: pool=average

	p       path
	origins map[string]Origin
}

// block holds an ablate block as it was read.
type block struct {
	node   *yaml.Node
	origin Origin
	file   string
}

// blockKey describes one key of the block.
type blockKey struct {
	Key
	of     []string // the designs that it is for; nil: all
	needed []string // the designs that cannot do without
}

// blockKeys lists the keys of the block in the order of its documentation.
var blockKeys = []blockKey{
	{key("design", clip.TypeString, nil, "`one-at-a-time`: the baseline, and each other level of each factor beside the baseline's levels. `grid`: every combination. `list`: the baseline and the combinations of `list`. `random`: combinations drawn at random. `search`: combinations chosen one after another, by the results of those before ([below](#search))").enum(designs...).required(), nil, nil},
	{key("factors", typeFactors, nil, "the factors by name, in the order of the tables").required(), nil, nil},
	{key("baseline", typeLevels, nil, "a level of every factor; the other variants are compared with it. With `random` and `search` it may be left out, and need not name every factor: the others stay as in the spec"), nil, []string{OneAtATime, Grid, List}},
	{key("exclude", typeAssignments, nil, "combinations to leave out: `[{pool: average, loss: siglip}]` leaves out every cell with these two levels"), []string{Grid}, nil},
	{key("include", typeAssignments, nil, "combinations to add, after `exclude`; factors not named have the baseline's level"), []string{OneAtATime, Grid}, nil},
	{key("list", typeAssignments, nil, "the combinations; factors not named have the baseline's level"), []string{List}, []string{List}},
	{key("trials", clip.TypeInt, nil, "the number of combinations to draw").min(1), []string{Random}, []string{Random}},
	{section("budget", "when the search ends: after so many `trials`, after so many `hours`, or after whichever comes first", budgetKeys...).optional(), []string{Search}, []string{Search}},
	{section("confirm", "the winner and the baseline are run again under fresh seeds", confirmKeys...).optional(), []string{Search}, nil},
	{key("random_seed", clip.TypeInt, nil, "the seed of the draws and of the search, not of the trials; 0 when left out").min(0).max(1 << 53), []string{Random, Search}, nil},
	{key("seeds", clip.TypeList, nil, "each cell runs with each of these; the spec's `seed` when left out").of(clip.TypeInt).min(0).max(1 << 53), nil, nil},
	{key("metric", clip.TypeString, nil, "the metric that decides; when left out, the first figure of the first evaluation"), nil, nil},
	{key("choose", clip.TypeString, nil, "the metric that ranks when nothing is compared (`random`), and that a `search` goes by. Take one of a validation split, so that the deciding examples do not also choose. `metric` when left out"), nil, nil},
	{key("directions", clip.TypeMap, nil, "which way metrics are good, if that is not [declared](results.md#values) or you mean otherwise: `{eval/test/regret: down}`; `up`, `down` or `none`").of(clip.TypeString).enum(Up, Down, None), nil, nil},
	{key("looks", clip.TypeList, nil, "the numbers of seeds at which you look at the table, such as `[3, 5, 8]`. The looks share the 5 % of false verdicts. A table in between shows the look before. The last look is all seeds").of(clip.TypeInt).min(minLookSeeds), []string{OneAtATime, Grid, List}, nil},
	{key("analysis", clip.TypeString, nil, "`paired`: the noise of a difference is estimated from its own pairs of seeds. `pooled`: from all variants, which finds more if seeds spread all variants alike. When left out: pooled for a whole grid, else paired").enum(Paired, Pooled), []string{OneAtATime, Grid, List}, nil},
	{key("noise_floor", clip.TypeBool, nil, "`true` runs the baseline again, as `baseline-again`, with as many other seeds (the smallest that are not in `seeds`). The distance between the two is noise. Needs two seeds"), []string{OneAtATime, Grid, List, Random}, nil},
	{key("retries", typeRetries, nil, "how often a failed trial is tried again: 1 when left out, at most 10. A number applies to `plugin_died`, `exhausted`, `unavailable` and `internal`; `{plugin_died: 3, numeric: 1}` sets kinds one by one. An interrupted trial is resumed instead").min(0).max(maxRetries), nil, nil},
	{key("backoff", typeBackoff, nil, "the wait before the first retry, doubled each time up to a minute: `2s`"), nil, nil},
	{section("stop", "ends weak trials early; off when left out. `stop.rule` is `median` or `asha`", stopKeys...).optional(), nil, nil},
}

// fieldOf returns the field of a key of the block, without the help, which is too long for a hint.
func fieldOf(name string) clip.Field {
	i := slices.IndexFunc(blockKeys, func(k blockKey) bool { return k.Name == name })
	f := blockKeys[i].Field
	f.Help = ""
	return f
}

// ablater reads one block.
type ablater struct {
	converter
	checker
	a     *Ablate
	keys  map[string]pair
	whens map[string]pair // by factor
}

// ablate reads a block. It returns nil after a fault.
func (r *reader) ablate(b *block) *Ablate {
	before := len(r.faults)
	x := &ablater{
		converter: converter{reader: r, file: b.file, layer: layer{origins: map[string]Origin{}}},
		a:         &Ablate{Origin: b.origin, Places: map[string]Origin{}, lastRow: lastRow(b.node)},
		keys:      map[string]pair{},
		whens:     map[string]pair{},
	}
	x.checker.origins = x.layer.origins
	at := path{"ablate"}
	x.layer.origins[at.join()] = b.origin
	if b.node.Kind != yaml.MappingNode {
		x.say(b.origin, at, "want a map, not %s", describe(b.node)).WithHint("see docs/spec.md, Ablations")
	} else {
		x.block(b.node, at)
	}
	r.faults = append(r.faults, x.checker.faults...)
	if len(r.faults) > before {
		return nil
	}
	return x.a
}

func lastRow(n *yaml.Node) int {
	row := n.Line
	for _, c := range n.Content {
		row = max(row, lastRow(c))
	}
	return row
}

// contains reports whether a place is inside the block.
func (a *Ablate) contains(file string, line int) bool {
	return file == a.Origin.Source && line >= a.Origin.KeyLine && line <= a.lastRow
}

// Outside reports whether a fault lies outside the block, so that only its cell tells how it came about.
func (a *Ablate) Outside(e *fault.Error) bool { return !a.contains(e.File, e.Line) }

func (x *ablater) say(o Origin, p path, format string, args ...any) *fault.Error {
	return x.checker.faultAt(o, p, format, args...)
}

func (x *ablater) block(node *yaml.Node, at path) {
	var names []string
	for _, k := range blockKeys {
		names = append(names, k.Name)
	}
	for _, e := range x.pairs(node, at) {
		if !slices.Contains(names, e.key) {
			x.say(e.o.key(), e.p, "unknown key").WithHint("%s", acceptsHint("ablate", e.key, names))
			continue
		}
		x.keys[e.key] = e
		x.a.Places[e.key] = e.o
	}
	x.design(at)
	x.factors(at)
	x.conditions()
	x.baseline(at)
	x.a.Exclude, x.a.Include, x.a.List = x.assignments("exclude"), x.assignments("include"), x.assignments("list")
	if x.lacks("list") {
		x.reportMissing(at.with("list"), "write list: [{a factor: its level}]")
	}
	x.numbers(at)
	x.search(at)
	x.analysis()
	x.trials()
}

func (x *ablater) reportMissing(p path, hint string, args ...any) {
	x.say(x.a.Origin.key(), p, "required, but not given").WithHint(hint, args...)
}

// lacks reports whether the design needs a key that is not given.
func (x *ablater) lacks(name string) bool {
	i := slices.IndexFunc(blockKeys, func(k blockKey) bool { return k.Name == name })
	_, given := x.keys[name]
	return !given && slices.Contains(blockKeys[i].needed, x.a.Design)
}

func (x *ablater) design(at path) {
	e, given := x.keys["design"]
	if !given {
		x.reportMissing(at.with("design"), "write design: %s, or one of %s", designs[0], strings.Join(designs[1:], ", "))
		return
	}
	x.a.Design, _ = x.valueOf(e).(string)
	if x.a.Design == "" {
		return
	}
	for _, k := range blockKeys {
		if e, given := x.keys[k.Name]; given && k.of != nil && !slices.Contains(k.of, x.a.Design) {
			x.say(e.o.key(), e.p, "has no effect with design %s", x.a.Design).WithHint("it is for design %s", strings.Join(k.of, " and "))
		}
	}
}

// valueOf returns the value of a key of the block; bad{} after a fault.
func (x *ablater) valueOf(e pair) any { return x.scalarOf(e, fieldOf(e.key)) }

// scalarOf returns the value of a key by a field's rules; bad{} after a fault.
func (x *ablater) scalarOf(e pair, f clip.Field) any {
	v := x.converter.value(e.keyed, e.node, e.p)
	if _, isBad := v.(bad); isBad {
		return v
	}
	return x.checker.field(f, v, e.p)
}

// numbers reads trials, random_seed, seeds and metric.
func (x *ablater) numbers(at path) {
	if e, given := x.keys["trials"]; given {
		n, _ := x.valueOf(e).(int64)
		x.a.Trials = int(n)
	} else if x.lacks("trials") {
		x.reportMissing(at.with("trials"), "write trials: 20, or how many combinations are to be drawn")
	}
	if e, given := x.keys["random_seed"]; given {
		n, _ := x.valueOf(e).(int64)
		x.a.RandomSeed = uint64(n)
	}
	if e, given := x.keys["metric"]; given {
		x.a.Metric, _ = x.valueOf(e).(string)
	}
	e, given := x.keys["seeds"]
	if !given {
		return
	}
	before := len(x.checker.faults)
	list, ok := x.valueOf(e).([]any)
	if e.node.Kind == yaml.ScalarNode && len(x.checker.faults) > before {
		x.checker.faults[before].WithHint("list the seeds themselves: [0, 1, 2]")
	}
	if ok && len(list) == 0 {
		x.say(e.o, e.p, "no seeds").WithHint("write seeds: [0, 1, 2], or leave it out for the spec's own")
	}
	for i, v := range list {
		p := e.p.with(itoa(i))
		o := x.checker.origin(p)
		if j := slices.Index(list, v); j < i {
			x.say(o, p, "%s is %s too", show(v), e.p.with(itoa(j))).WithHint("the same seed gives the same run; remove one of the two")
			continue
		}
		x.a.Seeds = append(x.a.Seeds, Seed{uint64(v.(int64)), o})
	}
}
