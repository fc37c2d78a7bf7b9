package sdk

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"tandem/core/clip"
)

// Schema reads the fields of a with block from a struct's tags; defaults is a value of the struct
// (or a pointer to one) holding the defaults, or nil for a plugin without options.
//
//	with      the key in the spec; fields without it are not options
//	help      one line for a person; required of every option
//	min, max  inclusive bounds of a number, or of every number of a list
//	enum      the strings allowed, separated by commas; of every string of a list
//	required  "true": the key must be given
//	type      "path": a string that names a file or folder that exists, relative to the spec file;
//	          "source": one that may also be a glob, a brace range or an address (clip.TypeSource)
//
// Types are ints, floats, bool, string, slices and fixed arrays of them (lists) and maps from string
// to them. Embedded structs count as if their fields stood here. A struct that breaks these rules is
// a bug in the plugin: Schema panics.
func Schema(defaults any) []clip.Field {
	options := optionsOf(defaults)
	fields := make([]clip.Field, len(options))
	for i, o := range options {
		fields[i] = o.Field
	}
	return fields
}

// option pairs a field of the schema with the struct field behind it.
type option struct {
	clip.Field
	value reflect.Value
}

func optionsOf(config any) []option {
	if config == nil {
		return nil
	}
	v := reflect.ValueOf(config)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		panic(fmt.Sprintf("sdk: config is %T, want a struct", config))
	}
	options := collect(nil, v)
	seen := map[string]bool{}
	for _, o := range options {
		if seen[o.Name] {
			panic(fmt.Sprintf("sdk: %T has two options %q", config, o.Name))
		}
		seen[o.Name] = true
	}
	return options
}

func collect(options []option, v reflect.Value) []option {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("with")
		switch {
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			options = collect(options, v.Field(i))
		case name != "":
			if !f.IsExported() {
				panic(fmt.Sprintf("sdk: option %q is not exported", name))
			}
			options = append(options, option{field(name, f, v.Field(i)), v.Field(i)})
		}
	}
	return options
}

func field(name string, f reflect.StructField, v reflect.Value) clip.Field {
	broken := func(format string, args ...any) {
		panic(fmt.Sprintf("sdk: option %q: ", name) + fmt.Sprintf(format, args...))
	}
	out := clip.Field{Name: name, Help: f.Tag.Get("help"), Required: f.Tag.Get("required") == "true"}
	if out.Help == "" {
		broken("no help tag")
	}
	scalar := func(t reflect.Type) clip.FieldType {
		switch t.Kind() {
		case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
			return clip.TypeInt
		case reflect.Float32, reflect.Float64:
			return clip.TypeFloat
		case reflect.Bool:
			return clip.TypeBool
		case reflect.String:
			switch f.Tag.Get("type") {
			case "path":
				return clip.TypePath
			case "source":
				return clip.TypeSource
			}
			return clip.TypeString
		}
		broken("type %v is not supported", f.Type)
		return ""
	}
	switch f.Type.Kind() {
	case reflect.Slice:
		out.Type, out.Elem = clip.TypeList, scalar(f.Type.Elem())
	case reflect.Array:
		out.Type, out.Elem, out.Len = clip.TypeList, scalar(f.Type.Elem()), f.Type.Len()
	case reflect.Map:
		if f.Type.Key().Kind() != reflect.String {
			broken("map keys are strings")
		}
		out.Type, out.Elem = clip.TypeMap, scalar(f.Type.Elem())
	default:
		out.Type = scalar(f.Type)
	}
	if e := f.Tag.Get("enum"); e != "" {
		out.Enum = strings.Split(e, ",")
	}
	bound := func(tag string) *float64 {
		text, ok := f.Tag.Lookup(tag)
		if !ok {
			return nil
		}
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			broken("%s: %v", tag, err)
		}
		return &x
	}
	out.Min, out.Max = bound("min"), bound("max")
	if !v.IsZero() && !out.Required {
		out.Default = v.Interface()
	}
	return out
}
