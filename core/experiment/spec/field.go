package spec

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// examples holds the hints of wrongType.
var examples = map[string]string{
	"a map": "write {key: value}", "a list": "write [first, second]", "true or false": "write true or false",
	"a whole number": "write a number such as 8", "a number": "write a number such as 0.5",
	"a text": "write a word, or a text in quotes", "a time": "write 90 s, 10 min, 1 h or 0 for no limit", "a device": "write auto, cpu, host or cuda:0", "bytes or a share": "write 20 GiB, 500 MiB or 50%",
	"a number or a map": "write 0.75, or {image: 0.75}", "a list of maps": "write [{key: value}]", "a name or a map": "write none or random_resized_crop",
	"none, all or a map": "write all, {blocks: 6} or {params: [a glob]}", "a number of steps or epochs": "write 200, or 1 epoch",
}

func (c *checker) wrongType(p path, want string, got any) any {
	c.fault(p, "want %s, not %s", want, show(got)).WithHint("%s", examples[want])
	return bad{}
}

// field checks a value against a field and returns its canonical form; bad{} after a fault.
func (c *checker) field(f clip.Field, value any, p path) any {
	switch f.Type {
	case clip.TypeList:
		list, ok := value.([]any)
		if !ok {
			c.wrongType(p, "a list", value)
			if _, isMap := value.(map[string]any); !isMap {
				c.faults[len(c.faults)-1].WithHint("write %s: [%s]", f.Name, show(value))
			}
			return bad{}
		}
		if f.Len > 0 && len(list) != f.Len {
			c.fault(p, "want a list of length %[2]d, not %[1]d", len(list), f.Len).WithHint("%s", orElse(f.Help, fmt.Sprintf("write a list of %d", f.Len)))
			return bad{}
		}
		elem := f
		elem.Type, elem.Elem, elem.Len, elem.Help = f.Elem, "", 0, ""
		if elem.Type == "" {
			elem.Type = clip.TypeString
		}
		out, ok := make([]any, len(list)), true
		for i, e := range list {
			out[i] = c.field(elem, e, p.with(strconv.Itoa(i)))
			if _, isBad := out[i].(bad); isBad {
				ok = false
			}
		}
		if !ok {
			return bad{}
		}
		return out
	case clip.TypeMap:
		m, ok := value.(map[string]any)
		if !ok {
			return c.wrongType(p, "a map", value)
		}
		elem := f
		elem.Type, elem.Elem = f.Elem, ""
		out := make(map[string]any, len(m))
		for _, name := range sortedKeys(m) {
			out[name] = m[name]
			if elem.Type != "" {
				out[name] = c.field(elem, m[name], p.with(name))
			}
			if _, isBad := out[name].(bad); isBad {
				return bad{}
			}
		}
		return out
	}
	return c.scalar(f, value, p)
}

func (c *checker) scalar(f clip.Field, value any, p path) any {
	if _, isBad := value.(bad); isBad {
		return value
	}
	if (f.Type == clip.TypeInt || f.Type == clip.TypeFloat) && c.leadingZero(value, p) {
		return bad{}
	}
	switch f.Type {
	case clip.TypeBool:
		v, ok := value.(bool)
		if !ok {
			c.wrongType(p, "true or false", value)
			return bad{}
		}
		return v
	case clip.TypeInt:
		v, ok := value.(int64)
		if x, isFloat := value.(float64); isFloat {
			if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
				c.fault(p, "want a whole number, not %s", show(value)).WithHint("write %d", int64(math.Max(-1<<53, math.Min(1<<53, math.Round(x)))))
				return bad{}
			}
			v, ok = int64(x), true
		}
		if !ok {
			c.wrongType(p, "a whole number", value)
			c.hintQuotes(value)
			return bad{}
		}
		if !c.inRange(f, float64(v), show(v), p) {
			return bad{}
		}
		return v
	case clip.TypeFloat:
		v, ok := value.(float64)
		if n, isInt := value.(int64); isInt {
			v, ok = float64(n), true
		}
		if !ok {
			c.wrongType(p, "a number", value)
			c.hintQuotes(value)
			return bad{}
		}
		if !c.inRange(f, v, show(v), p) {
			return bad{}
		}
		return v
	}
	o := c.origin(p)
	v, ok := value.(string)
	if _, isList := value.([]any); !ok && o.Line == 0 && !isList {
		if _, isMap := value.(map[string]any); !isMap {
			v, ok = orElse(o.raw, fmt.Sprint(value)), true // a shell's quotes are gone before YAML sees them
		}
	}
	if !ok {
		c.wrongType(p, "a text", value)
		if _, isList := value.([]any); !isList {
			c.faults[len(c.faults)-1].WithHint("quote it: %q", orElse(o.raw, show(value)))
		}
		return bad{}
	}
	if len(f.Enum) > 0 && !slices.Contains(f.Enum, v) {
		c.fault(p, "unknown value %q", v).WithHint("%s", acceptsHint(f.Name, v, f.Enum))
		return bad{}
	}
	if f.Type == clip.TypePath && v != "" {
		return c.file(f, v, o, p)
	}
	if f.Type == clip.TypeSource && v != "" && !strings.Contains(v, "://") {
		return absolute(beside(v, o))
	}
	return v
}

var zeroFirst = regexp.MustCompile(`^[-+]?0[0-9_]`)

// leadingZero refuses numbers with a zero in front. Readers of YAML disagree on them: 0123 is 123 to one and 83
// to another, and 089 is 89 to both.
func (c *checker) leadingZero(value any, p path) bool {
	switch value.(type) {
	case int64, float64:
	default:
		return false
	}
	raw := c.origin(p).raw
	if !zeroFirst.MatchString(raw) {
		return false
	}
	sign := strings.TrimRight(raw[:1], "0123456789")
	plain := strings.TrimLeft(strings.TrimLeft(raw, "+-"), "0_")
	if plain == "" || !strings.ContainsAny(plain[:1], "123456789") {
		plain = "0" + plain
	}
	c.fault(p, "%s has a leading zero", raw).WithHint("write %s%s", strings.TrimPrefix(sign, "+"), plain)
	return true
}

// hintQuotes adds a hint to the last fault when value is a text that looks like a number.
func (c *checker) hintQuotes(value any) {
	if text, ok := value.(string); ok {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			c.faults[len(c.faults)-1].WithHint("write it without quotes: %s", text)
		}
	}
}

func (c *checker) inRange(f clip.Field, v float64, text string, p path) bool {
	if f.Min != nil && v < *f.Min {
		c.fault(p, "%s is less than %v", text, *f.Min).WithHint("the smallest value is %s%s", show(*f.Min), helpSuffix(f))
		return false
	}
	if f.Max != nil && v > *f.Max {
		c.fault(p, "%s is more than %v", text, *f.Max).WithHint("the largest value is %s%s", show(*f.Max), helpSuffix(f))
		return false
	}
	return true
}

// file returns the absolute path of a file or folder, which must exist.
func (c *checker) file(f clip.Field, name string, o Origin, p path) any {
	full := beside(name, o)
	abs := absolute(full)
	if c.begun && (p.String() == "init.weights" || p.String() == "teacher.init.weights") {
		return abs
	}
	if _, err := os.Stat(abs); err != nil {
		e := c.fault(p, "%s does not exist", full).WithHint("%s", orElse(f.Help, "give the path of a file or folder, relative to the spec file"))
		e.Kind = fault.NotFound
		return bad{}
	}
	return abs
}

// beside returns the path of a name that stands in a spec: relative to the spec file, ~/ being the home folder.
func beside(name string, o Origin) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			name = filepath.Join(home, rest)
		}
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(o.Dir, name)
	}
	return name
}

// absolute returns a path without the working folder in it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// helpSuffix returns ": " and a field's help, when it has any.
func helpSuffix(f clip.Field) string {
	if f.Help == "" {
		return ""
	}
	return ": " + f.Help
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

// show writes a value as a person does.
func show(v any) string {
	switch t := v.(type) {
	case string:
		return strconv.Quote(t)
	case float64:
		return strconv.FormatFloat(t, 'g', -1, 64)
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	}
	return fmt.Sprint(v)
}
