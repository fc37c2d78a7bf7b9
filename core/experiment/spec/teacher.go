package spec

import (
	"slices"

	"tandem/core/clip"
)

// Teacher names frozen towers whose embeddings the loss takes beside those of the model.
type Teacher struct {
	Image    *Tower `json:"image"` // nil: none
	Text     *Tower `json:"text"`  // nil: none
	EmbedDim int    `json:"embed_dim"`
	Init     Init   `json:"init"`
}

// Tower returns the teacher's tower of a modality; nil when there is none.
func (t *Teacher) Tower(m clip.Modality) *Tower {
	switch {
	case t == nil:
		return nil
	case m == clip.Image:
		return t.Image
	}
	return t.Text
}

// teacher lists the keys of a spec's teacher.
var teacher = section("teacher", "frozen towers that see the same pictures and captions, for losses with the inputs `teacher_image` and `teacher_text`; left out: none",
	section("image", "the teacher's image tower; left out: none",
		plugin("encoder", clip.KindEncoder, clip.Image, "image encoder plugin of the teacher, for pictures of the model's size"), with, where).optional(),
	section("text", "the teacher's text tower; left out: none",
		plugin("encoder", clip.KindEncoder, clip.Text, "text encoder plugin of the teacher"), with, where).optional(),
	key("embed_dim", clip.TypeInt, nil, "width of the teacher's embeddings; left out: that of the model").min(1).max(1<<20),
	section("init", "the teacher's parameters",
		key("weights", clip.TypePath, "", "published weights or a checkpoint folder, as in `init`; empty: the encoders' own, which are random unless their settings name some"),
		key("towers", clip.TypeList, nil, "which of the teacher's towers take them; left out: all").of(clip.TypeString).enum("image", "text"))).optional()

// teacher checks the rules of a teacher, and fills in the defaults that depend on other keys.
func (c *checker) teacher(tree map[string]any) {
	m, ok := tree["teacher"].(map[string]any)
	if !ok {
		return
	}
	p := path{"teacher"}
	c.embedDim(tree, p)
	if _, given := m["embed_dim"]; !given {
		c.setDefault(m, p.with("embed_dim"), tree["embed_dim"], "default")
	}
	var towers []any
	for _, name := range []string{"image", "text"} {
		if _, given := m[name]; given {
			towers = append(towers, name)
		}
	}
	if len(towers) == 0 {
		c.faultAt(c.origin(p).key(), p, "has no tower").WithHint("give teacher.image, teacher.text or both, or leave teacher out")
		return
	}
	init, ok := m["init"].(map[string]any)
	if !ok {
		return
	}
	at := p.with("init").with("towers")
	list, given := init["towers"].([]any)
	if !given {
		if _, isBad := init["towers"].(bad); !isBad {
			c.setDefault(init, at, towers, "default")
		}
		return
	}
	if len(list) == 0 {
		c.fault(at, "names no tower").WithHint("image, text or both; leave it out for all")
	}
	for _, name := range list {
		if !slices.Contains(towers, name) {
			c.fault(at, "names %s, and teacher.%s is not given", name, name).WithHint("leave towers out: all that the teacher has take the weights")
		}
	}
}
