package spec

import (
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/preset"
	"tandem/core/fault"
)

// model fills in what the published model that the spec names says of towers, loss and embed_dim, where no layer says it. A
// section that names another plugin than the model's keeps to itself.
func (c *checker) model(tree map[string]any) {
	given, is := tree["model"]
	if !is {
		return
	}
	if _, isBad := given.(bad); !isBad { // --set model=3 is a name too
		tree["model"] = c.field(clip.Field{Name: "model", Type: clip.TypeString}, given, path{"model"})
	}
	name, ok := tree["model"].(string)
	if !ok {
		return
	}
	m, err := preset.Find(name)
	if err != nil {
		e := c.fault(path{"model"}, "%s", err.(*fault.Error).Msg).WithHint("%s", err.(*fault.Error).Hint)
		e.Kind = fault.NotFound
		return
	}
	source := "model " + name
	ofModel := m.Spec()
	for _, s := range pluginSections {
		theirs, known := lookup(ofModel, s.section).(map[string]any)
		if !known {
			continue
		}
		key := s.name[len(s.name)-1]
		if tree[s.section.join()] == nil {
			c.setDefault(tree, s.section, map[string]any{}, source)
		}
		mine, ok := lookup(tree, s.section).(map[string]any)
		if !ok {
			continue
		}
		switch given, _ := mine[key].(string); {
		case mine[key] == nil:
			c.setDefault(mine, s.name, theirs[key], source)
		case given[strings.LastIndex(given, "/")+1:] != theirs[key]:
			continue
		}
		settings, _ := theirs["with"].(map[string]any)
		if mine["with"] == nil {
			mine["with"] = map[string]any{}
		}
		with, ok := mine["with"].(map[string]any)
		if !ok {
			continue
		}
		for _, key := range sortedKeys(settings) {
			if _, given := with[key]; !given {
				c.setDefault(with, s.section.with("with").with(key), settings[key], source)
			}
		}
	}
	if _, given := tree["embed_dim"]; !given && lookup(tree, path{"image", "with", "embed_dim"}) == nil && lookup(tree, path{"text", "with", "embed_dim"}) == nil {
		c.setDefault(tree, path{"embed_dim"}, ofModel["embed_dim"], source)
	}
}
