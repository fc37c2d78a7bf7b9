package spec

import (
	glob "path"
	"slices"
	"strconv"

	"tandem/core/clip"
)

// freezeNames lists the values of a freeze that is no map.
var freezeNames = []string{"none", "all"}

// freezeKeys lists the keys of a freeze that is a map.
var freezeKeys = []Key{
	key("blocks", clip.TypeInt, nil, "").min(-10000).max(10000),
	key("params", clip.TypeList, nil, "").of(clip.TypeString),
}

// freeze checks what is not to be trained: none, all, or a map whose parts add up.
func (c *checker) freeze(value any, p path) any {
	if name, ok := value.(string); ok {
		if names := freezeNames; !slices.Contains(names, name) {
			c.fault(p, "unknown value %q", name).WithHint("%s, or a map such as {blocks: 6}", acceptsHint("freeze", name, names))
			return bad{}
		}
		return value
	}
	m, ok := value.(map[string]any)
	if !ok {
		return c.wrongType(p, "none, all or a map", value)
	}
	before := len(c.faults)
	c.section(m, freezeKeys, p, "freeze")
	if globs, ok := m["params"].([]any); ok {
		for i, g := range globs {
			if _, err := glob.Match(g.(string), ""); err != nil {
				c.fault(p.with("params").with(strconv.Itoa(i)), "%q is not a glob", g).WithHint("* stands for any text, ? for one letter, [ab] for one of several")
			}
		}
	}
	if len(m) == 0 && len(c.faults) == before {
		c.fault(p, "freezes nothing").WithHint("write none, all, {blocks: 6} or {params: [a glob]}")
	}
	if len(c.faults) > before {
		return bad{}
	}
	return m
}

// checkFreezable reports a freeze that the encoder of section m does not support.
func (c *checker) checkFreezable(m map[string]any, d clip.Descriptor, p path) {
	f, given := m["freeze"]
	if _, isBad := f.(bad); !given || isBad || f == "none" || d.Name == "" || slices.Contains(d.Capabilities, clip.CapFreeze) {
		return
	}
	c.fault(p.with("freeze"), "encoders/%s cannot freeze parameters", d.Name).
		WithHint("leave freeze out; plugins made with core/engine/tower can once they declare the capability %q", clip.CapFreeze)
}
