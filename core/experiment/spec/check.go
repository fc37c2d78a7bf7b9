package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// checker walks the merged tree, replaces every value by its canonical form, fills in defaults and
// collects faults.
type checker struct {
	catalog Catalog
	origins map[string]Origin
	faults  fault.List
	begun   bool // of a run that has begun
}

// origin returns the place of p, or of the nearest thing around it.
func (c *checker) origin(p path) Origin {
	for n := len(p); n >= 0; n-- {
		if o, ok := c.origins[p[:n].join()]; ok {
			if n < len(p) && o.KeyLine > 0 {
				return o.key() // something missing is reported at the key that should hold it
			}
			return o
		}
	}
	return Origin{}
}

func (c *checker) faultAt(o Origin, p path, format string, args ...any) *fault.Error {
	e := fault.New(fault.Invalid, format, args...).WithPath(p.String()).WithFile(o.Source, o.Line, o.Column)
	c.faults = append(c.faults, e)
	return e
}

func (c *checker) fault(p path, format string, args ...any) *fault.Error {
	return c.faultAt(c.origin(p), p, format, args...)
}

func (c *checker) setDefault(m map[string]any, p path, value any, source string) {
	m[p[len(p)-1]] = clone(value)
	c.origins[p.join()] = Origin{Source: source}
}

// section checks the keys of one map. who names it in hints.
func (c *checker) section(m map[string]any, keys []Key, p path, who string) {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	c.unknown(m, names, p, "unknown key", func(name string) string { return c.elsewhereHint(m, keys, name, p, acceptsHint(who, name, names)) })
	for _, k := range keys {
		here := p.with(k.Name)
		value, given := m[k.Name]
		switch {
		case given:
			if _, isBad := value.(bad); isBad {
				continue
			}
		case k.Required:
			c.fault(here, "required, but not given").WithHint("%s", missingHint(k))
			m[k.Name] = bad{}
			continue
		case k.Optional || k.Type == typeAblate || k.Type == typeWith:
			continue // a with block is filled in by its plugin's schema
		case k.Type == typeSection, k.Type == typeMixture:
			value = map[string]any{}
		case k.Type == typeSections:
			value = []any{}
			c.origins[here.join()] = Origin{Source: "default"}
		case k.Default == nil:
			continue
		default:
			value = clone(k.Default)
			c.setDefault(m, here, value, "default")
		}
		m[k.Name] = c.value(k, value, here)
		if python, ok := m[k.Name].(string); ok && len(p) == 0 && k.Name == "python" {
			if other, ok := c.catalog.(WithPython); ok {
				c.catalog = other.WithPython(python)
			}
		}
	}
}

// unknown reports the keys of a map that are not among names, and removes them. When a map has very many, it is
// probably not what it should be, and the first few suffice.
func (c *checker) unknown(m map[string]any, names []string, p path, what string, hint func(name string) string) {
	const most = 20
	n := 0
	for _, name := range sortedKeys(m) {
		if slices.Contains(names, name) {
			continue
		}
		delete(m, name)
		if n++; n > most {
			continue
		}
		here := p.with(name)
		c.faultAt(c.origin(here).key(), here, "%s", what).WithHint("%s", hint(name))
	}
	if n > most {
		c.fault(p, "%d more unknown keys", n-most).WithHint("is it a spec at all? see docs/spec.md")
	}
}

// elsewhereHint returns a hint for an unknown key of a section that is a key of another section, or a setting
// of the section's plugin. When it is neither, it returns otherwise.
func (c *checker) elsewhereHint(m map[string]any, keys []Key, name string, p path, otherwise string) string {
	var found []string
	var walk func(keys []Key, at string)
	walk = func(keys []Key, at string) {
		for _, k := range keys {
			if k.Name == name && k.Type != typeSection && k.Type != typeMixture && k.Type != typeWith && k.Type != typePlugin {
				found = append(found, at+name)
			}
			if (k.Type == typeSection || k.Type == typeMixture) && k.Name != "teacher" { // who means a teacher writes so
				walk(k.Sub, at+k.Name+".")
			}
		}
	}
	for _, k := range keys {
		if d := (clip.Descriptor{}); k.Type == typePlugin && c.catalog != nil {
			if plugin, ok := m[k.Name].(string); ok {
				d, _ = c.catalog.Describe(k.Kind, plugin)
			}
			if slices.ContainsFunc(d.Schema, func(f clip.Field) bool { return f.Name == name }) {
				found = append(found, p.with("with").with(name).String())
			}
		}
	}
	if walk(Keys, ""); len(found) == 0 || len(found) > 3 {
		return otherwise
	}
	return "did you mean " + strings.Join(found, " or ") + "?"
}

func missingHint(k Key) string {
	if k.Type == typePlugin {
		return "name a plugin; `runner plugin list` shows those found"
	}
	return k.Help
}

// value checks one value of a spec key and returns its canonical form; bad{} after a fault.
func (c *checker) value(k Key, value any, p path) any {
	switch k.Type {
	case typeSection:
		m, ok := value.(map[string]any)
		if !ok {
			return c.wrongType(p, "a map", value)
		}
		c.section(m, k.Sub, p, k.Name)
		return m
	case typeSections:
		list, ok := value.([]any)
		if !ok {
			e := c.wrongType(p, "a list of maps", value)
			c.faults[len(c.faults)-1].WithHint("write %s: [{…}]", k.Name)
			return e
		}
		for i := range list {
			here := p.with(strconv.Itoa(i))
			list[i] = c.value(section(k.Name+" entry", "", k.Sub...), list[i], here)
		}
		return list
	case typeWith:
		if _, ok := value.(map[string]any); !ok {
			return c.wrongType(p, "a map", value)
		}
		return value
	case typePlugin:
		return c.field(clip.Field{Name: k.Name, Type: clip.TypeString}, value, p)
	case typeTimeout:
		text, ok := value.(string)
		if n, isInt := value.(int64); isInt {
			text, ok = strconv.FormatInt(n, 10), true
		}
		v, err := ParseTimeout(text)
		if !ok || err != nil {
			return c.wrongType(p, "a time", value)
		}
		return int64(time.Duration(v) / time.Second)
	case typeInterval:
		if n, ok := value.(int64); ok {
			value = strconv.FormatInt(n, 10)
		}
		text, ok := value.(string)
		if !ok {
			return c.wrongType(p, "a number of steps or epochs", value)
		}
		v, err := ParseInterval(text)
		if err != nil {
			c.fault(p, "%w", err).WithHint("write 200, or 1 epoch")
			return bad{}
		}
		return v.canonical()
	case typeLines:
		return c.lines(k, value, p)
	case typeDevice:
		return c.device(value, p)
	case typeMemory:
		return c.memory(value, p)
	case typeMixture:
		return c.mixture(k, value, p)
	case typeReport:
		return c.report(value, p)
	case typeShuffle:
		return c.shuffle(value, p)
	case typeSwitch:
		return c.switched(value, p)
	case typeAugment:
		return c.augment(value, p)
	case typeFreeze:
		return c.freeze(value, p)
	case typeByTower:
		return c.byTower(value, p)
	}
	return c.field(k.Field, value, p)
}

// knownDevices lists the devices that a spec can name; cuda matches the others.
var knownDevices = []string{"auto", "cpu", "host", "cuda:0"}

var cuda = regexp.MustCompile(`^cuda(:[0-9]{1,3})?$`)

func (c *checker) device(value any, p path) any {
	text, ok := value.(string)
	if !ok {
		return c.wrongType(p, "a device", value)
	}
	if text == "cuda" {
		return "cuda:0"
	}
	if !slices.Contains(knownDevices, text) && !cuda.MatchString(text) {
		hint := "auto, cpu, host or cuda:N; `runner devices` lists those of this machine"
		if near := fault.Nearest(text, knownDevices); near != "" {
			hint += fmt.Sprintf(" (did you mean %s?)", near)
		}
		c.fault(p, "unknown device %q", text).WithHint("%s", hint)
		return bad{}
	}
	return text
}
