package spec

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

var kinds = []clip.Kind{clip.KindEncoder, clip.KindLoss, clip.KindDataset}

// plugin checks the plugin that section m names under key k, and its with block, into which it fills
// the defaults of the plugin's schema. The descriptor's Name is "" when there is none to speak of.
func (c *checker) plugin(m map[string]any, k Key, p path) clip.Descriptor {
	name, ok := m[k.Name].(string)
	if !ok {
		return clip.Descriptor{}
	}
	here := p.with(k.Name)
	var with map[string]any
	switch w := m["with"].(type) {
	case nil:
		with = map[string]any{}
		m["with"] = with
	case map[string]any:
		with = w
	}
	name, ok = c.pluginName(name, k, here)
	if !ok {
		return clip.Descriptor{}
	}
	m[k.Name] = name
	if c.catalog == nil {
		return clip.Descriptor{}
	}
	d, err := c.catalog.Describe(k.Kind, name)
	if err != nil {
		c.reportMissing(err, name, k, here)
		return clip.Descriptor{}
	}
	if d.Kind != "" && d.Kind != k.Kind {
		c.fault(here, "%s is %s, want %s", name, article(d.Kind), article(k.Kind)).WithHint("%s", acceptsHint(k.Name, name, c.fittingPlugins(k)))
		return clip.Descriptor{}
	}
	if k.Modality != "" && d.Modality != "" && d.Modality != k.Modality {
		c.fault(here, "%s reads %ss, want an encoder of %ss", name, d.Modality, k.Modality).WithHint("%s", acceptsHint(p.String(), name, c.fittingPlugins(k)))
		return clip.Descriptor{}
	}
	if with != nil {
		c.with(with, d, k, p.with("with"))
	}
	return d
}

// pluginName strips a kind prefix that fits and makes a path absolute.
func (c *checker) pluginName(name string, k Key, p path) (string, bool) {
	if name == "" {
		c.fault(p, "no name").WithHint("name a plugin; `runner plugin list` shows those found")
		return "", false
	}
	prefix, rest, hasSlash := strings.Cut(name, "/")
	if !hasSlash {
		return name, true
	}
	for _, kind := range kinds {
		if prefix == kind.Dir() {
			if kind != k.Kind {
				e := c.fault(p, "%s is %s, want %s", name, article(kind), article(k.Kind))
				if c.catalog != nil {
					e.WithHint("%s", acceptsHint(k.Name, rest, c.fittingPlugins(k)))
				}
				return "", false
			}
			return rest, true
		}
	}
	full := name
	if !filepath.IsAbs(full) {
		full = filepath.Join(c.origin(p).Dir, full)
	}
	if abs, err := filepath.Abs(full); err == nil {
		full = abs
	}
	return full, true
}

// fittingPlugins returns the plugins that key k may name.
func (c *checker) fittingPlugins(k Key) []string {
	var fit []string
	for _, name := range c.catalog.Names(k.Kind) {
		if d, err := c.catalog.Describe(k.Kind, name); k.Modality == "" || err == nil && (d.Modality == k.Modality || d.Modality == "") {
			fit = append(fit, name)
		}
	}
	return fit
}

// reportMissing reports a plugin that could not be described. When a plugin of another kind has the name, it says so.
func (c *checker) reportMissing(err error, name string, k Key, p path) {
	for _, other := range kinds {
		if other != k.Kind && slices.Contains(c.catalog.Names(other), name) && !slices.Contains(c.catalog.Names(k.Kind), name) {
			c.fault(p, "%s is %s, want %s", name, article(other), article(k.Kind)).WithHint("%s", acceptsHint(k.Name, name, c.fittingPlugins(k)))
			return
		}
	}
	if fault.KindOf(err) != fault.NotFound || filepath.IsAbs(name) {
		e := c.fault(p, "%w", err)
		e.Kind = fault.KindOf(err)
		if inner, ok := err.(*fault.Error); ok {
			e.Hint, e.Detail = inner.Hint, inner.Detail
		}
		return
	}
	e := c.fault(p, "no %s plugin %q", k.Kind, name).WithHint("%s", acceptsHint(p.String(), name, c.fittingPlugins(k)))
	e.Kind = fault.NotFound
	if len(c.catalog.Names(k.Kind)) == 0 {
		e.WithHint("no %s plugins were found; run make build, or set RUNNER_PLUGIN_PATH", k.Kind)
	}
}

// with checks a with block against a descriptor.
func (c *checker) with(m map[string]any, d clip.Descriptor, k Key, p path) {
	who := k.Kind.Dir() + "/" + d.Name
	fields := make([]Key, len(d.Schema))
	for i, f := range d.Schema {
		f.Default = canonicalDefault(f)
		fields[i] = Key{Field: f}
	}
	c.fields(m, fields, p, who)
	for _, r := range d.Relations {
		a, okA := m[r.Field].(int64)
		b, okB := m[r.Of].(int64)
		if r.Rule == "multiple_of" && okA && okB && a != 0 && b != 0 && a%b != 0 {
			at := p.with(r.Field)
			if c.origin(at).Line == 0 && c.origin(p.with(r.Of)).Line != 0 {
				at = p.with(r.Of) // blame what was given, not a default
			}
			c.fault(at, "%s %d is not a multiple of %s %d", r.Field, a, r.Of, b).
				WithHint("the nearest %s is %d", r.Field, max(1, (a+b/2)/b)*b)
		}
	}
}

// fields does for plugin settings what section does: unknown keys are called fields, and the defaults are the
// plugin's.
func (c *checker) fields(m map[string]any, fields []Key, p path, who string) {
	short := who[strings.Index(who, "/")+1:]
	names := make([]string, len(fields))
	for i, k := range fields {
		names[i] = k.Name
	}
	c.unknown(m, names, p, "unknown field", func(name string) string { return acceptsHint(short, name, names) })
	for _, k := range fields {
		here := p.with(k.Name)
		value, given := m[k.Name]
		if !given {
			if k.Required {
				c.fault(here, "required, but not given").WithHint("%s", orElse(k.Help, short+" needs it"))
				m[k.Name] = bad{}
				continue
			}
			if k.Default == nil {
				continue
			}
			value = clone(k.Default)
			place := c.origin(here)
			if place.Line == 0 {
				place = c.origin(p[:len(p)-1])
			}
			c.setDefault(m, here, value, "default of "+who)
			if k.Type == clip.TypePath {
				// A default path that is absent is reported where the plugin was named.
				before := len(c.faults)
				m[k.Name] = c.field(k.Field, value, here)
				for _, e := range c.faults[before:] {
					e.WithFile(place.Source, place.Line, place.Column)
				}
				continue
			}
		}
		m[k.Name] = c.field(k.Field, value, here)
	}
}

// canonicalDefault returns a schema's default with the types that the decoder gives to values. Descriptors come
// from JSON, where every number is a float64, or from Go code, where it is any integer type.
func canonicalDefault(f clip.Field) any {
	if f.Default == nil {
		return nil
	}
	data, err := json.Marshal(f.Default)
	if err != nil {
		return f.Default
	}
	var v any
	if json.Unmarshal(data, &v) != nil {
		return f.Default
	}
	return v
}

// samplesOf returns how many samples a dataset has by its descriptor; 0 when the descriptor does not say.
func samplesOf(d clip.Descriptor, with map[string]any) int {
	for _, size := range d.Sizes {
		if func() bool {
			for name, want := range size.When {
				if !sameJSON(with[name], want) {
					return false
				}
			}
			return true
		}() {
			return size.N
		}
	}
	return 0
}

// sameJSON compares a setting, nil when absent, with what a Size asks of it. An absent setting has the zero
// value.
func sameJSON(got, want any) bool {
	if got == nil {
		switch fmt.Sprint(want) {
		case "<nil>", "", "0", "false", "[]", "map[]":
			return true
		}
	}
	x, errX := json.Marshal(got)
	y, errY := json.Marshal(want)
	return errX == nil && errY == nil && string(x) == string(y)
}

func article(k clip.Kind) string {
	if k == clip.KindEncoder {
		return "an " + string(k)
	}
	return "a " + string(k)
}
