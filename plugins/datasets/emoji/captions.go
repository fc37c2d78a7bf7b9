package main

import (
	"strings"

	"tandem/core/clip"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
	"tandem/plugins/datasets/emoji/catalog"
)

// describe fills in samples, targets and captions of the pictures. Classes are those that occur among
// them, in the order of the table.
func (c Config) describe(set *sample.Set, emoji []catalog.Emoji, pictures []picture) {
	var label, group, subgroup sample.Classes
	texts := map[string]bool{}
	add := func(list []string) {
		for _, t := range list {
			if !texts[t] {
				texts[t] = true
				set.Texts = append(set.Texts, t)
			}
		}
	}
	for _, p := range pictures {
		e := emoji[p.emoji]
		set.Samples = append(set.Samples, sample.Sample{
			Key: pictureKey(emoji, p), Group: int64(p.emoji), Captions: c.evalCaptions(e, pictureName(e, p)),
			Labels: []int32{label.Add(e.Label), group.Add(e.Group), subgroup.Add(e.Subgroup)},
		})
		if c.KindShare > 0 {
			add(kinds(e))
		}
		if c.Captions == "tags" && len(e.Tags) > 0 {
			continue
		}
		add(sample.FillAll(c.Templates, pictureName(e, p)))
	}
	set.Targets = []clip.Target{label.Target("label"), group.Target("group"), subgroup.Target("subgroup")}
	set.Caption = func(i int, s *random.Stream) string {
		p := pictures[i]
		return c.drawCaption(emoji[p.emoji], pictureName(emoji[p.emoji], p), s)
	}
}

// pictureName returns what a picture is called: the label, with its skin tone if it has one.
func pictureName(e catalog.Emoji, p picture) string {
	if p.tone >= 0 {
		return e.Tones[p.tone].Label
	}
	return e.Label
}

// evalCaptions returns the captions for evaluation.
func (c Config) evalCaptions(e catalog.Emoji, name string) []string {
	tags := strings.Join(e.Tags, " ")
	switch {
	case c.Captions == "label" || tags == "":
		return []string{name}
	case c.Captions == "tags":
		return []string{tags}
	}
	return []string{name, tags}
}

// drawCaption draws a caption for training: a label in a template, some tags in random order, or its kind.
func (c Config) drawCaption(e catalog.Emoji, name string, s *random.Stream) string {
	if c.KindShare > 0 && s.Float64() < c.KindShare { // without a share no number is drawn
		return sample.Choose(s, kinds(e))
	}
	if c.Captions == "label" || len(e.Tags) == 0 || c.Captions == "both" && s.Float64() < c.LabelShare {
		return sample.Fill(sample.Choose(s, c.Templates), name)
	}
	n := 1 + s.IntN(min(c.MaxTags, len(e.Tags)))
	tags := make([]string, n)
	for i, at := range s.Perm(len(e.Tags))[:n] {
		tags[i] = e.Tags[at]
	}
	return strings.Join(tags, " ")
}

// kinds returns the texts that tell an emoji's kind.
func kinds(e catalog.Emoji) []string {
	return []string{e.Group, e.Subgroup, e.Group + ", " + e.Subgroup}
}
