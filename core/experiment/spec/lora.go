package spec

import (
	glob "path"
	"slices"
	"strconv"

	"tandem/core/clip"
)

// lora lists the keys of a tower's adapters.
var lora = section("lora", "low-rank adapters (Hu et al. 2022): chosen matrices W compute with W + alpha/rank · B·A, and nothing is trained but A and B; left out: none",
	key("rank", clip.TypeInt, nil, "columns of B and rows of A").min(1).max(1<<16).required(),
	key("alpha", clip.TypeFloat, nil, "over the rank, the scale of the product; left out: the rank, which makes it 1").max(1e6),
	key("targets", clip.TypeList, nil, "globs of the names of matrices or of their layers, each of which must match: `[\"*.attn.in_proj\", \"*.mlp.*\"]`; left out: those of attention").of(clip.TypeString),
	key("dropout", clip.TypeFloat, 0.0, "share of A's inputs that are zero in training").min(0).max(0.99),
	key("train", clip.TypeList, nil, "globs of parameters that are trained beside the adapters: `[visual.proj]`").of(clip.TypeString)).optional()

// lora checks the adapters of the encoder of section m, and fills in alpha.
func (c *checker) lora(m map[string]any, d clip.Descriptor, p path) {
	l, ok := m["lora"].(map[string]any)
	if !ok {
		return
	}
	p = p.with("lora")
	if rank, ok := l["rank"].(int64); ok && l["alpha"] == nil {
		c.setDefault(l, p.with("alpha"), float64(rank), "default")
	}
	if alpha, ok := l["alpha"].(float64); ok && !(alpha > 0) {
		c.fault(p.with("alpha"), "%s, want more than 0", show(alpha)).WithHint("the rank, or twice that, is usual")
	}
	for _, name := range []string{"targets", "train"} {
		globs, _ := l[name].([]any)
		if l[name] != nil && len(globs) == 0 {
			delete(l, name)
		}
		for i, g := range globs {
			if text, ok := g.(string); ok {
				if _, err := glob.Match(text, ""); err != nil {
					c.fault(p.with(name).with(strconv.Itoa(i)), "%q is not a glob", text).WithHint("* stands for any text, ? for one letter, [ab] for one of several")
				}
			}
		}
	}
	if f := m["freeze"]; f != nil && f != "none" {
		c.fault(p, "the tower is frozen too").
			WithHint("lora freezes everything but its adapters and what lora.train names; leave freeze out, or write freeze: none")
	}
	if d.Name != "" && !slices.Contains(d.Capabilities, clip.CapLoRA) {
		c.fault(p, "encoders/%s has no low-rank adapters", d.Name).
			WithHint("leave lora out; plugins made with core/engine/tower can once they declare the capability %q", clip.CapLoRA)
	}
}
