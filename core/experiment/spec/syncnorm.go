package spec

import (
	"slices"

	"tandem/core/clip"
)

// syncNorm checks train.sync_norm, which needs a tower that can exchange with other ranks. False is as if it were left out, so
// that it does not make another run.
func (c *checker) syncNorm(m map[string]any, p path, tree map[string]any) {
	if m["sync_norm"] == false {
		delete(m, "sync_norm")
	}
	if m["sync_norm"] != true || c.catalog == nil {
		return
	}
	for _, tower := range towers {
		section, _ := lookup(tree, path{tower}).(map[string]any)
		name, _ := section["encoder"].(string)
		d, err := c.catalog.Describe(clip.KindEncoder, name)
		if err != nil || section["freeze"] != "all" && slices.Contains(d.Capabilities, clip.CapExchange) {
			return // it can, or the plugin that does not exist is reported already
		}
	}
	c.fault(p.with("sync_norm"), "no tower that is trained has batch normalisation which ranks can do together").
		WithHint("leave it out: only towers with batch normalisation need it (capability %q: %s)", clip.CapExchange, c.encodersWith(clip.CapExchange))
}

// encodersWith lists the encoders of the catalog with a capability, for a hint.
func (c *checker) encodersWith(capability string) string {
	list := ""
	for _, name := range c.catalog.Names(clip.KindEncoder) {
		if d, err := c.catalog.Describe(clip.KindEncoder, name); err == nil && slices.Contains(d.Capabilities, capability) {
			list += ", encoders/" + name
		}
	}
	if list == "" {
		return "no encoder here"
	}
	return list[2:]
}
