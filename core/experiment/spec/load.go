package spec

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
)

// Load reads and checks a spec. Its error is a fault.List of everything wrong with it, in file
// order: the file itself, then those it extends, then environment and --set. The cells of an ablate
// block are not resolved here; see Read.
func Load(file string, opts Options) (*Spec, error) { return Read(file, opts).spec() }

// Parse does as Load does, for a text instead of a file. name stands for the file in faults, and paths are
// relative to its folder.
func Parse(name string, text []byte, opts Options) (*Spec, error) {
	return read(&reader{text: map[string][]byte{filepath.Clean(name): text}}, name, opts).spec()
}

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	variantForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._=,+-]{0,999})?$`) // names of cells: loss=siglip,pool=average
)

// relations checks rules between keys, and fills in the defaults that depend on other keys.
func (c *checker) relations(tree map[string]any, file string) {
	if _, ok := tree["name"]; !ok {
		base := filepath.Base(file)
		c.setDefault(tree, path{"name"}, strings.TrimSuffix(base, filepath.Ext(base)), "default")
	}
	c.nameForm(tree, path{"name"}, nameForm)
	c.nameForm(tree, path{"variant"}, variantForm)
	c.embedDim(tree, nil)
	if list, ok := lookup(tree, path{"init", "towers"}).([]any); ok && len(list) == 0 {
		c.fault(path{"init", "towers"}, "names no tower").WithHint("image, text or both")
	}
	c.teacher(tree)
	used := map[string]clip.Descriptor{} // by section
	samples := c.sources(tree, used)
	for _, s := range pluginSections {
		if at := s.section.String(); at == "data.train" || at == "loss" {
			continue
		}
		if m, ok := lookup(tree, s.section).(map[string]any); ok {
			d := c.plugin(m, c.keyOf(s.name), s.section)
			c.checkFreezable(m, d, s.section)
			c.lora(m, d, s.section)
			used[s.section.String()] = d
		}
	}
	c.losses(tree, used)
	c.precision(tree)
	c.logLimit(tree)
	c.cache(tree)
	c.inputs(tree, used)
	if m, ok := tree["train"].(map[string]any); ok {
		c.train(m, path{"train"}, samples, tree)
	}
	if list, ok := tree["eval"].([]any); ok {
		c.evals(list, tree)
	}
}

// keyOf returns the schema entry at p; indices do not count.
func (c *checker) keyOf(p path) Key {
	keys := Keys
	p = slices.DeleteFunc(slices.Clone(p), func(elem string) bool { _, err := strconv.Atoi(elem); return err == nil })
	for i, name := range p {
		at := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
		if i == len(p)-1 {
			return keys[at]
		}
		keys = keys[at].Sub
	}
	return Key{}
}

func (c *checker) nameForm(m map[string]any, p path, form *regexp.Regexp) {
	text, ok := m[p[len(p)-1]].(string)
	if ok && !form.MatchString(text) {
		c.fault(p, "%q is not a name", text).WithHint("letters, digits, dots, dashes and underscores, beginning with a letter or digit")
	}
}

// embedDim takes embed_dim out of the with blocks of the towers of a section (nil: the model's) and compares it with
// the shared one and the other tower's. When only a tower gives one, it becomes the shared one.
func (c *checker) embedDim(tree map[string]any, section path) {
	top := section.with("embed_dim")
	shared, _ := lookup(tree, section).(map[string]any)
	type given struct {
		p path
		n int64
	}
	var all []given
	if n, ok := shared["embed_dim"].(int64); ok && c.origin(top).Source != "default" {
		all = append(all, given{top, n})
	}
	for _, tower := range []string{"image", "text"} {
		p := section.with(tower).with("with").with("embed_dim")
		with, ok := lookup(tree, p[:len(p)-1]).(map[string]any)
		if value := with["embed_dim"]; ok && value != nil {
			delete(with, "embed_dim")
			if n, ok := c.field(towerWidth, value, p).(int64); ok {
				all = append(all, given{p, n})
			}
		}
	}
	if len(all) == 0 {
		return
	}
	place := "at the top level"
	if section != nil {
		place = "in " + section.String()
	}
	for _, g := range all[1:] {
		if g.n != all[0].n {
			c.fault(g.p, "%d, but %s is %d (%s)", g.n, all[0].p, all[0].n, c.origin(all[0].p)).
				WithHint("both towers end in one space: set embed_dim %s and leave it out of the towers", place)
		}
	}
	shared["embed_dim"] = all[0].n
	c.origins[top.join()] = c.origin(all[0].p)
}

func (c *checker) train(m map[string]any, p path, samples int, tree map[string]any) {
	number := func(name string) float64 {
		switch v := m[name].(type) {
		case int64:
			return float64(v)
		case float64:
			return v
		}
		return 0
	}
	name, _ := m["optimizer"].(string)
	for _, key := range sortedKeys(optimizerDefaults[name]) {
		if _, ok := m[key]; !ok {
			c.setDefault(m, p.with(key), optimizerDefaults[name][key], "default of "+name)
		}
	}
	batch := int64(number("batch_size"))
	if samples > 0 && batch > int64(samples) {
		c.fault(p.with("batch_size"), "%d is more than the %d samples of data.train", batch, samples).
			WithHint("at most %d; every batch is drawn from one pass over the data, without repetition", samples)
	}
	if micro, ok := m["micro_batch_size"].(int64); ok && batch > 0 {
		if micro == 0 {
			m["micro_batch_size"] = batch
		} else if batch%micro != 0 {
			c.fault(p.with("micro_batch_size"), "%d does not divide batch_size %d", micro, batch).WithHint("every micro-batch has the same size")
		}
	}
	_, badEpochs := m["epochs"].(bad)
	_, badSteps := m["max_steps"].(bad)
	if number("epochs") == 0 && number("max_steps") == 0 && !badEpochs && !badSteps {
		o := c.origin(p)
		if o.KeyLine > 0 {
			o = o.key()
		} else if o.Line == 0 {
			o = c.origin(nil)
		}
		c.faultAt(o, p, "no end: neither epochs nor max_steps is given").WithHint("set train.epochs or train.max_steps")
	}
	if lr, ok := m["lr"].(float64); ok && number("min_lr") > lr {
		c.fault(p.with("min_lr"), "%s is more than lr %s", show(number("min_lr")), show(lr)).WithHint("the schedule falls from lr to min_lr")
	}
	c.optimizer(m, p, tree)
	cooldown := m["schedule"] == "cooldown"
	if n := number("cooldown_steps"); n > 0 && !cooldown {
		c.fault(p.with("cooldown_steps"), "has no effect with schedule %v", m["schedule"]).WithHint("set schedule: cooldown")
	} else if _, isBad := m["cooldown_steps"].(bad); n == 0 && cooldown && !isBad {
		c.fault(p.with("schedule"), "cooldown without cooldown_steps").WithHint("set train.cooldown_steps")
	}
}

// decodableTree returns the tree in the form of Spec's JSON.
func decodableTree(tree map[string]any) map[string]any {
	out := clone(tree).(map[string]any)
	data := out["data"].(map[string]any)
	data["train"] = decodableTrain(data["train"])
	out["loss"] = decodableLoss(out["loss"], out["device"])
	out["report"] = decodableReport(out["report"])
	for _, part := range []path{{"image"}, {"text"}, {"teacher", "image"}, {"teacher", "text"}} {
		m, ok := lookup(out, part).(map[string]any)
		if !ok {
			continue // no such teacher
		}
		if _, given := m["device"]; !given {
			m["device"] = out["device"]
		}
		switch m["freeze"] {
		case "all":
			m["freeze"] = map[string]any{"all": true}
		case "none":
			m["freeze"] = map[string]any{}
		}
	}
	return out
}
