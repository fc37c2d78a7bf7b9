package spec

import (
	"slices"
	"strings"

	"tandem/core/clip"
)

// inputs reports inputs of the losses that nothing in the spec gives, and teachers that no loss takes. used holds the
// descriptors by section.
func (c *checker) inputs(tree map[string]any, used map[string]clip.Descriptor) {
	var taken, who []string
	for _, p := range lossSections(tree) {
		loss := used[p.String()]
		if loss.Name == "" {
			return // there is a fault already, or nobody knows
		}
		taken, who = append(taken, loss.Inputs...), append(who, "losses/"+loss.Name)
		for _, input := range loss.Inputs {
			c.input(tree, used, p.with("plugin"), "losses/"+loss.Name, input)
		}
	}
	do := "does"
	if len(who) > 1 {
		do = "do"
	}
	for _, t := range []struct{ tower, input string }{{"image", clip.InputTeacherImage}, {"text", clip.InputTeacherText}} {
		p := path{"teacher", t.tower}
		if lookup(tree, p) == nil || slices.Contains(taken, t.input) {
			continue
		}
		c.faultAt(c.origin(p).key(), p, "nothing uses it: %s %s not take %s", strings.Join(who, ", "), do, t.input).
			WithHint("leave it out, or name a loss that takes %s; in an ablation a teacher belongs to the level whose loss takes it", t.input)
	}
}

// input reports an input of the loss named at p, who, that nothing in the spec gives.
func (c *checker) input(tree map[string]any, used map[string]clip.Descriptor, p path, who, input string) {
	switch input {
	case clip.InputGroups: // every dataset has them
	case clip.InputTeacherImage:
		c.needsTeacher(tree, p, who, input, clip.Image)
	case clip.InputTeacherText:
		c.needsTeacher(tree, p, who, input, clip.Text)
	case clip.InputTextNegatives:
		for _, p := range trainSections(tree) {
			if c.needs(used, p.with("dataset"), who, input, clip.CapNegatives, capabilities) {
				c.needsSetting(tree, used[p.String()], p, who)
			}
		}
	case clip.InputImageView2:
		for _, p := range trainSections(tree) {
			c.needs(used, p.with("dataset"), who, input, clip.CapView2, capabilities)
		}
	case clip.InputImageTokens:
		c.needs(used, path{"image", "encoder"}, who, input, clip.OutputTokens, outputs)
	case clip.InputTextTokens:
		c.needs(used, path{"text", "encoder"}, who, input, clip.OutputTokens, outputs)
	default:
		c.fault(p, "%s takes the input %q, which this runner does not know", who, input).
			WithHint("it knows %s; a newer runner may know more", strings.Join(clip.LossInputs, ", "))
	}
}

// needsTeacher reports that the spec has no teacher of a modality.
func (c *checker) needsTeacher(tree map[string]any, p path, who, input string, m clip.Modality) {
	if lookup(tree, path{"teacher", string(m)}) == nil {
		c.fault(p, "%s takes %s, and there is no teacher.%s", who, input, m).
			WithHint("add teacher: {%s: {encoder: NAME, with: {…}}, init: {weights: PATH}}", m)
	}
}

func capabilities(d clip.Descriptor) []string { return d.Capabilities }
func outputs(d clip.Descriptor) []string      { return d.Outputs }

// needs reports that the plugin at p lacks what an input of the loss is made of. It returns true when the plugin has
// it.
func (c *checker) needs(used map[string]clip.Descriptor, p path, who, input, what string, of func(clip.Descriptor) []string) bool {
	d := used[p[:len(p)-1].String()]
	if d.Name == "" || slices.Contains(of(d), what) {
		return d.Name != ""
	}
	k := c.keyOf(p)
	var fit []string
	for _, name := range c.fittingPlugins(k) {
		if other, err := c.catalog.Describe(k.Kind, name); err == nil && slices.Contains(of(other), what) {
			fit = append(fit, name)
		}
	}
	hint := "none of the plugins found has it"
	if len(fit) > 0 {
		hint = "those found with it: " + strings.Join(fit, ", ")
	}
	c.fault(p, "%s takes %s, and %s/%s has no %s", who, input, k.Kind.Dir(), d.Name, what).WithHint("%s", hint)
	return false
}

// needsSetting reports a dataset that can give negatives and is set to give none. Datasets name that setting
// negatives; of one that has no such setting only opening it tells.
func (c *checker) needsSetting(tree map[string]any, d clip.Descriptor, p path, who string) {
	with, ok := lookup(tree, p.with("with")).(map[string]any)
	at := slices.IndexFunc(d.Schema, func(f clip.Field) bool { return f.Name == clip.CapNegatives })
	if !ok || at < 0 {
		return
	}
	if isZero(with[clip.CapNegatives]) {
		c.fault(p.with("with").with(clip.CapNegatives), "%s takes %s, and datasets/%s is set to give none", who, clip.InputTextNegatives, d.Name).
			WithHint("%s: %s", clip.CapNegatives, d.Schema[at].Help)
	}
}

// isZero reports whether a setting is what leaving it out means.
func isZero(v any) bool {
	switch t := v.(type) {
	case []any:
		return len(t) == 0
	case map[string]any:
		return len(t) == 0
	}
	return v == nil || v == false || v == int64(0) || v == 0.0 || v == ""
}
