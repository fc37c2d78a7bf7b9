package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Decode reads a with block into config, a pointer to a struct with the tags that Schema explains.
// Fields that raw does not name keep their value, so config starts as a copy of the defaults:
//
//	cfg := Defaults
//	if err := sdk.Decode(c.With, &cfg); err != nil { … }
//
// An empty raw is an empty block. Unknown keys, wrong types, fractions where an int is due, values
// out of bounds, and required keys that are missing are fault.Invalid with the path "with.key", all
// of them at once as a fault.List; config is then not to be used.
func Decode(raw json.RawMessage, config any) error {
	if v := reflect.ValueOf(config); v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("sdk: Decode into %T, want a pointer to a struct", config))
	}
	options := optionsOf(config)
	given := map[string]any{}
	if len(bytes.TrimSpace(raw)) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&given); err != nil {
			return fault.New(fault.Invalid, "not a JSON object: %w", err).WithPath("with")
		}
	}
	var faults fault.List
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	for _, key := range sortedKeys(given) {
		if !slices.Contains(names, key) {
			faults = append(faults, unknown(key, names))
		}
	}
	for _, o := range options {
		value, ok := given[o.Name]
		if !ok || value == nil {
			if o.Required {
				faults = append(faults, invalid(o.Name, "is required").WithHint("%s", o.Help))
			}
			continue
		}
		if err := o.set(value); err != nil {
			faults = append(faults, err)
		}
	}
	return faults.Err()
}

func unknown(key string, names []string) *fault.Error {
	err := invalid(key, "unknown field")
	if len(names) == 0 {
		return err.WithHint("this plugin has no options")
	}
	hint := "fields are " + strings.Join(names, ", ")
	if near := fault.Nearest(key, names); near != "" {
		hint += " (did you mean " + near + "?)"
	}
	return err.WithHint("%s", hint)
}

func invalid(key, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithPath("with." + key)
}

// set checks value, as encoding/json with UseNumber gives it, and stores it.
func (o option) set(value any) *fault.Error {
	switch o.Type {
	case clip.TypeList:
		list, ok := value.([]any)
		if !ok {
			return o.wrongType(o.Name, o.Type, value)
		}
		if o.Len > 0 && len(list) != o.Len {
			return invalid(o.Name, "has %d values, want %d", len(list), o.Len)
		}
		out := o.value // an array is filled in place
		if o.Len == 0 {
			out = reflect.MakeSlice(o.value.Type(), len(list), len(list))
		}
		for i, v := range list {
			if err := o.scalar(fmt.Sprintf("%s[%d]", o.Name, i), o.Elem, v, out.Index(i)); err != nil {
				return err
			}
		}
		o.value.Set(out)
		return nil
	case clip.TypeMap:
		object, ok := value.(map[string]any)
		if !ok {
			return o.wrongType(o.Name, o.Type, value)
		}
		out := reflect.MakeMapWithSize(o.value.Type(), len(object))
		for _, key := range sortedKeys(object) {
			element := reflect.New(o.value.Type().Elem()).Elem()
			if err := o.scalar(o.Name+"."+key, o.Elem, object[key], element); err != nil {
				return err
			}
			out.SetMapIndex(reflect.ValueOf(key).Convert(o.value.Type().Key()), element)
		}
		o.value.Set(out)
		return nil
	}
	return o.scalar(o.Name, o.Type, value, o.value)
}

func (o option) scalar(path string, typ clip.FieldType, value any, to reflect.Value) *fault.Error {
	switch v := value.(type) {
	case bool:
		if typ == clip.TypeBool {
			to.SetBool(v)
			return nil
		}
	case string:
		if typ == clip.TypeString || typ == clip.TypePath || typ == clip.TypeSource {
			if len(o.Enum) > 0 && !slices.Contains(o.Enum, v) {
				hint := "one of " + strings.Join(o.Enum, ", ")
				if near := fault.Nearest(v, o.Enum); near != "" {
					hint += " (did you mean " + near + "?)"
				}
				return invalid(path, "%q is not allowed", v).WithHint("%s", hint)
			}
			to.SetString(v)
			return nil
		}
	case json.Number:
		if typ == clip.TypeInt || typ == clip.TypeFloat {
			return o.number(path, typ, v, to)
		}
	}
	return o.wrongType(path, typ, value)
}

func (o option) number(path string, typ clip.FieldType, n json.Number, to reflect.Value) *fault.Error {
	x, err := n.Float64()
	if err != nil {
		return invalid(path, "%s is out of range", n)
	}
	if o.Min != nil && x < *o.Min {
		return invalid(path, "%s is below the minimum %v", n, *o.Min)
	}
	if o.Max != nil && x > *o.Max {
		return invalid(path, "%s is above the maximum %v", n, *o.Max)
	}
	if typ == clip.TypeFloat {
		if to.OverflowFloat(x) {
			return invalid(path, "%s is out of range", n)
		}
		to.SetFloat(x)
		return nil
	}
	if to.CanUint() {
		u, err := strconv.ParseUint(n.String(), 10, 64)
		if err != nil && x == math.Trunc(x) && x >= 0 && x < 1<<53 {
			u, err = uint64(x), nil // 1e3, 256.0
		}
		return store(err != nil || to.OverflowUint(u), path, n, func() { to.SetUint(u) })
	}
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		i, err = int64(x), nil
	}
	return store(err != nil || to.OverflowInt(i), path, n, func() { to.SetInt(i) })
}

func store(bad bool, path string, n json.Number, set func()) *fault.Error {
	if bad {
		return invalid(path, "%s is not a whole number in range", n)
	}
	set()
	return nil
}

func (o option) wrongType(path string, want clip.FieldType, value any) *fault.Error {
	got := "null"
	switch v := value.(type) {
	case bool:
		got = fmt.Sprintf("the bool %v", v)
	case string:
		got = fmt.Sprintf("the string %q", v)
	case json.Number:
		got = "the number " + v.String()
	case []any:
		got = "a list"
	case map[string]any:
		got = "a map"
	}
	name := string(want)
	if want == clip.TypeList || want == clip.TypeMap {
		name = fmt.Sprintf("%s of %s", want, o.Elem)
	}
	return invalid(path, "is %s, want %s", got, name)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
