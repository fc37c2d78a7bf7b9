package spec

import (
	"encoding/json"
	"fmt"
	glob "path"
	"slices"
	"strconv"

	"tandem/core/clip"
)

// Group gives parameters a learning rate, a weight decay or a start of their own.
type Group struct {
	Params      []string `json:"params"`       // globs of parameter names
	LRScale     *float64 `json:"lr_scale"`     // nil: 1
	WeightDecay *float64 `json:"weight_decay"` // nil: train.weight_decay, with its exceptions
	Start       int      `json:"start"`        // steps that leave them as they are
	Tower       string   `json:"tower"`        // image or text; "": both
}

// ByTower holds a number for each tower. Its JSON is one number for both, or {"image": …, "text": …}; a tower that
// is left out has 0.
type ByTower struct{ Image, Text float64 }

// UnmarshalJSON reads either form.
func (b *ByTower) UnmarshalJSON(data []byte) error {
	var both float64
	if json.Unmarshal(data, &both) == nil {
		*b = ByTower{both, both}
		return nil
	}
	type plain ByTower
	return json.Unmarshal(data, (*plain)(b))
}

// of returns the number of a tower, image or text.
func (b ByTower) of(tower string) float64 {
	if tower == "text" {
		return b.Text
	}
	return b.Image
}

var towers = []string{"image", "text"}

// groupKeys lists the keys of an element of train.groups.
var groupKeys = []Key{
	key("params", clip.TypeList, nil, "globs of parameter names, each of which must match; the first group that a parameter matches counts").of(clip.TypeString).required(),
	key("lr_scale", clip.TypeFloat, nil, "multiplies the learning rate, beside `train.layer_decay`; left out: 1").max(1e6),
	key("weight_decay", clip.TypeFloat, nil, "of all that match; left out: `train.weight_decay`, with its exceptions").min(0).max(1e3),
	key("start", clip.TypeInt, nil, "steps that leave them as they are, as if they were frozen; the next is their first, and counts as it for the optimiser; left out: 0").min(0).max(maxInt),
	key("tower", clip.TypeString, nil, "the tower that is meant; left out: both").enum(towers...),
}

// layerDecayKeys lists the keys of a layer decay that is a map.
var layerDecayKeys = []Key{
	key("image", clip.TypeFloat, nil, "of the image tower").min(0).max(1),
	key("text", clip.TypeFloat, nil, "of the text tower").min(0).max(1),
}

// byTower checks a number, or a map of numbers by tower.
func (c *checker) byTower(value any, p path) any {
	m, ok := value.(map[string]any)
	if !ok {
		switch value.(type) {
		case int64, float64:
			both := layerDecayKeys[0].Field
			both.Help = ""
			return c.field(both, value, p)
		}
		return c.wrongType(p, "a number or a map", value)
	}
	before := len(c.faults)
	c.section(m, layerDecayKeys, p, p[len(p)-1])
	if len(c.faults) > before {
		return bad{}
	}
	return m
}

// optimizer checks what the towers' optimisers do beyond one rate for all parameters: groups, layer decay and averaged
// weights. It removes values that mean nothing, so that they do not make another run.
func (c *checker) optimizer(m map[string]any, p path, tree map[string]any) {
	if m["ema"] == 0.0 {
		delete(m, "ema")
	}
	off := func(v any) bool { return v == nil || v == 0.0 || v == 1.0 }
	if v, given := m["layer_decay"]; given {
		by, isMap := v.(map[string]any)
		for _, tower := range towers {
			if off(by[tower]) {
				delete(by, tower)
			}
		}
		if isMap && len(by) == 0 || !isMap && off(v) {
			delete(m, "layer_decay")
		}
	}
	groups, _ := m["groups"].([]any)
	if m["groups"] != nil && len(groups) == 0 {
		delete(m, "groups")
	}
	for i := range groups {
		if g, ok := groups[i].(map[string]any); ok {
			at := p.with("groups").with(strconv.Itoa(i))
			c.group(g, at)
			start, _ := g["start"].(int64)
			if steps, _ := m["max_steps"].(int64); steps > 0 && start >= steps {
				c.fault(at.with("start"), "%d, but the run ends after %d steps", start, steps).WithHint("freeze: {params: [a glob]} leaves parameters as they are")
			}
		}
	}
	c.checkCapable(m, p, tree)
	c.syncNorm(m, p, tree)
	if m["deduplicate_captions"] == false { // is as if it were left out, so that it does not make another run
		delete(m, "deduplicate_captions")
	}
}

// group checks one element of train.groups.
func (c *checker) group(g map[string]any, p path) {
	params, ok := g["params"].([]any)
	if ok && len(params) == 0 {
		c.fault(p.with("params"), "names no parameter").WithHint("write globs of parameter names, such as \"*.bias\"")
	}
	for i, name := range params {
		if _, err := glob.Match(name.(string), ""); err != nil {
			c.fault(p.with("params").with(strconv.Itoa(i)), "%q is not a glob", name).WithHint("* stands for any text, ? for one letter, [ab] for one of several")
		}
	}
	scale, scaled := g["lr_scale"]
	if x, ok := scale.(float64); ok && !(x > 0) {
		c.fault(p.with("lr_scale"), "%s, want more than 0", show(x)).WithHint("freeze: {params: [a glob]} leaves parameters as they are")
	}
	_, decayed := g["weight_decay"]
	if _, starts := g["start"]; !scaled && !decayed && !starts {
		c.fault(p, "changes nothing").WithHint("give it lr_scale, weight_decay or start; start: 0 keeps what it names out of the groups that follow")
	}
}

// checkCapable reports encoders that do not support what is asked of their optimiser. Of a tower that is frozen whole
// nothing is asked.
func (c *checker) checkCapable(m map[string]any, p path, tree map[string]any) {
	if c.catalog == nil {
		return
	}
	trained := 0
	for _, tower := range towers {
		section, _ := lookup(tree, path{tower}).(map[string]any)
		if section["freeze"] == "all" {
			c.checkUseful(m, p, tower)
			continue
		}
		trained++
		name, _ := section["encoder"].(string)
		d, err := c.catalog.Describe(clip.KindEncoder, name)
		if err != nil {
			continue // reported already
		}
		lacks := func(key, what, capability, remedy string) {
			at := p.with(key)
			if _, isBad := m[key].(bad); m[key] == nil || isBad || slices.Contains(d.Capabilities, capability) {
				return
			}
			c.fault(at, "encoders/%s %s", d.Name, what).
				WithHint("%s; plugins made with core/engine/tower can once they declare the capability %q", remedy, capability)
		}
		lacks("ema", "keeps no average of its parameters", clip.CapEMA, "leave train.ema out")
		if _, isMap := m["layer_decay"].(map[string]any); !isMap || lookup(m, path{"layer_decay", tower}) != nil {
			other := towers[1-slices.Index(towers, tower)]
			lacks("layer_decay", "has one learning rate for all layers", clip.CapGroups, fmt.Sprintf("leave it out, or give it to the other tower alone: layer_decay: {%s: …}", other))
		}
		groups, _ := m["groups"].([]any)
		for i := range groups {
			if g, ok := groups[i].(map[string]any); ok && (g["tower"] == nil || g["tower"] == tower) {
				lacks("groups", fmt.Sprintf("has one learning rate for all parameters, but groups[%d] is for the %s tower too", i, tower), clip.CapGroups,
					"a group with tower: image or text is for that tower alone")
				break
			}
		}
		c.checkStart(m, p, tower, d)
	}
	if trained == 0 && m["ema"] != nil {
		c.fault(p.with("ema"), "both towers are frozen, so that their average is what they are").WithHint("leave train.ema out")
	}
}

// checkStart reports groups that start late where the encoder has no such thing.
func (c *checker) checkStart(m map[string]any, p path, tower string, d clip.Descriptor) {
	groups, _ := m["groups"].([]any)
	for i := range groups {
		g, ok := groups[i].(map[string]any)
		start, later := g["start"].(int64)
		if !ok || !later || start == 0 || g["tower"] != nil && g["tower"] != tower {
			continue
		}
		at := p.with("groups").with(strconv.Itoa(i)).with("start")
		if !slices.Contains(d.Capabilities, clip.CapStart) {
			c.fault(at, "encoders/%s trains all its parameters from the first step on", d.Name).
				WithHint("leave start out, or give the group to the other tower; plugins made with core/engine/tower can once they declare the capability %q", clip.CapStart)
		}
	}
}

// checkUseful reports rates that are given to a tower alone that is frozen whole.
func (c *checker) checkUseful(m map[string]any, p path, tower string) {
	useless := func(at path) { c.fault(at, "has no effect: the %s tower is frozen", tower).WithHint("leave it out") }
	if lookup(m, path{"layer_decay", tower}) != nil {
		useless(p.with("layer_decay").with(tower))
	}
	groups, _ := m["groups"].([]any)
	for i := range groups {
		if g, ok := groups[i].(map[string]any); ok && g["tower"] == tower {
			useless(p.with("groups").with(strconv.Itoa(i)))
		}
	}
}

// TowerOptimizer returns the optimiser of a tower, image or text, as its encoder takes it. A tower that is frozen whole
// has no groups, no layer decay and no average.
func (s *Spec) TowerOptimizer(tower string) clip.Optimizer {
	o := s.Train.ClipOptimizer()
	if s.tower(tower).Freeze.All {
		return o
	}
	o.LayerDecay, o.EMADecay = s.Train.LayerDecay.of(tower), s.Train.EMA
	for _, i := range s.groupsOf(tower) {
		g := s.Train.Groups[i]
		o.Groups = append(o.Groups, clip.ParamGroup{Params: g.Params, LRScale: g.LRScale, WeightDecay: g.WeightDecay, Start: g.Start})
	}
	return o
}

// Averages reports whether a tower, image or text, keeps an average of its parameters.
func (s *Spec) Averages(tower string) bool { return s.TowerOptimizer(tower).EMADecay > 0 }

// GroupPath returns the path of the group that is group i of a tower's optimiser, and whether it is meant for both
// towers.
func (s *Spec) GroupPath(tower string, i int) (at string, both bool) {
	of := s.groupsOf(tower)
	if i < 0 || i >= len(of) {
		return "train.groups", false
	}
	return fmt.Sprintf("train.groups[%d]", of[i]), s.Train.Groups[of[i]].Tower == ""
}

// groupsOf returns the places in train.groups of those that a tower obeys.
func (s *Spec) groupsOf(tower string) (of []int) {
	for i, g := range s.Train.Groups {
		if g.Tower == "" || g.Tower == tower {
			of = append(of, i)
		}
	}
	return of
}

func (s *Spec) tower(name string) Tower {
	if name == "text" {
		return s.Text
	}
	return s.Image
}
