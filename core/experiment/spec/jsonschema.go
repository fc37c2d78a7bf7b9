package spec

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// object holds one JSON Schema, or a part of one.
type object = map[string]any

// SchemaTitle tells the schema from other files.
const SchemaTitle = "tandem experiment"

// JSONSchema returns a JSON Schema (draft 7, which all editors read) of spec files with the plugins of a catalog: what
// a file may contain, not whether its values fit together. The keys come from the tables that check specs, those of
// with blocks from the plugins' descriptors. Plugins named by a path are taken with any settings, and so are those that
// cannot be described: the faults say why.
func JSONSchema(c Catalog) ([]byte, fault.List) {
	s := schemaWriter{catalog: c, definitions: object{}, refused: map[string]*fault.Error{}}
	root := s.section(Keys, "")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = SchemaTitle
	root["description"] = "An experiment of tandem: two towers, a loss, data, evaluations and the recipe. `runner explain FILE` checks it."
	// A file that extends others may leave to them what is required, and one that names a model the towers and the loss.
	root["if"] = object{"anyOf": []object{{"required": []string{"extends"}}, {"required": []string{"model"}}}}
	root["then"] = true
	root["else"] = s.required(Keys)
	root["definitions"] = s.definitions
	text, err := json.MarshalIndent(root, "", " ")
	if err != nil {
		panic("spec: the schema does not encode: " + err.Error())
	}
	var faults fault.List
	for _, name := range sortedKeys(s.refused) {
		faults = append(faults, s.refused[name])
	}
	return append(text, '\n'), faults
}

// schemaWriter writes one schema.
type schemaWriter struct {
	catalog     Catalog
	definitions object                  // by name, for $ref
	refused     map[string]*fault.Error // plugins that cannot be described
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }

// section returns the schema of a map of keys. Keys that are required are not asked for: see required.
func (s *schemaWriter) section(keys []Key, at string) object {
	properties, out := object{}, object{"type": "object", "additionalProperties": false}
	for _, k := range keys {
		p := s.value(k, at+k.Name)
		p["title"] = at + k.Name
		describeKey(p, k.Field)
		properties[k.Name] = p
	}
	out["properties"] = properties
	for _, k := range keys {
		if k.Type == typePlugin {
			if rules := s.withRules(k); len(rules) > 0 {
				out["allOf"] = rules
			}
		}
	}
	return out
}

// describeKey adds what a person reads to the schema of a field.
func describeKey(p object, f clip.Field) {
	if f.Help != "" {
		p["description"] = f.Help
	}
	if f.Default != nil {
		p["default"] = f.Default
	}
}

// value returns the schema of a key's values.
func (s *schemaWriter) value(k Key, at string) object {
	switch k.Type {
	case typeSection:
		return s.section(k.Sub, at+".")
	case typeSections:
		items := s.section(k.Sub, at+"[].")
		return object{"type": "array", "items": demand(items, s.required(k.Sub))}
	case typeMixture:
		return object{"anyOf": []any{s.section(k.Alone, at+"."),
			object{"type": "array", "minItems": 1, "items": demand(s.section(k.Sub, at+"[]."), s.required(k.Sub))}}}
	case typeWith:
		return object{"type": "object"}
	case typePlugin:
		return s.pluginName(k)
	case typeAblate:
		return s.ablate()
	}
	if form, special := forms[k.Type]; special {
		return maps.Clone(form)
	}
	return fieldSchema(k.Field)
}

// demand adds rules that required returned to the schema of the map that they are for.
func demand(of, rules object) object {
	all, _ := of["allOf"].([]any)
	more, _ := rules["allOf"].([]any)
	all = append(all, more...)
	if inner := rules["properties"]; inner != nil {
		all = append(all, object{"properties": inner})
	}
	if names := rules["required"]; names != nil {
		of["required"] = names
	}
	if len(all) > 0 {
		of["allOf"] = all
	}
	return of
}

// fieldSchema returns the schema of a field of one of clip's types.
func fieldSchema(f clip.Field) object {
	elem := f
	elem.Type, elem.Elem, elem.Len = f.Elem, "", 0
	switch f.Type {
	case clip.TypeList:
		if elem.Type == "" {
			elem.Type = clip.TypeString
		}
		out := object{"type": "array", "items": fieldSchema(elem)}
		if f.Len > 0 {
			out["minItems"], out["maxItems"] = f.Len, f.Len
		}
		return out
	case clip.TypeMap:
		if elem.Type == "" {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": fieldSchema(elem)}
	case clip.TypeBool:
		return object{"type": "boolean"}
	case clip.TypeInt:
		return bounded(object{"type": "integer"}, f)
	case clip.TypeFloat:
		return bounded(object{"type": "number"}, f)
	}
	out := object{"type": "string"}
	if len(f.Enum) > 0 {
		out["enum"] = f.Enum
	}
	return out
}

func bounded(out object, f clip.Field) object {
	if f.Min != nil {
		out["minimum"] = *f.Min
	}
	if f.Max != nil {
		out["maximum"] = *f.Max
	}
	return out
}

// required returns what a map of keys must have, and the maps in it.
func (s *schemaWriter) required(keys []Key) object {
	var names []string
	properties, out := object{}, object{}
	for _, k := range keys {
		if k.Required {
			names = append(names, k.Name)
		}
		if k.Type == typeSection {
			if inner := s.required(k.Sub); len(inner) > 0 {
				properties[k.Name] = inner
				if inner["required"] != nil && !k.Optional {
					names = append(names, k.Name)
				}
			}
		}
		if k.Type == typeMixture {
			properties[k.Name] = object{"if": object{"type": "object"}, "then": s.required(k.Alone)}
			names = append(names, k.Name)
		}
		if k.Type == typePlugin {
			if rules := s.withRequired(k); len(rules) > 0 {
				out["allOf"] = rules
			}
		}
	}
	if len(names) > 0 {
		out["required"] = names
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	return out
}

// plugins returns the descriptors of the plugins that a key may name, by the names found.
func (s *schemaWriter) plugins(k Key) []clip.Descriptor {
	var out []clip.Descriptor
	if s.catalog == nil {
		return nil
	}
	for _, name := range s.catalog.Names(k.Kind) {
		d, err := s.catalog.Describe(k.Kind, name)
		if err != nil {
			s.refuse(k.Kind.Dir()+"/"+name, err)
			continue
		}
		if k.Modality != "" && d.Modality != "" && d.Modality != k.Modality {
			continue
		}
		d.Name = name
		out = append(out, d)
	}
	return out
}

// refuse remembers why a plugin cannot be described.
func (s *schemaWriter) refuse(ref string, err error) {
	e := fault.New(fault.KindOf(err), "%s cannot be described, so that it is taken with any settings: %w", ref, err)
	var inner *fault.Error
	if errors.As(err, &inner) {
		e.Hint, e.Detail = inner.Hint, inner.Detail
	}
	s.refused[ref] = e
}

// withName returns the name of the definition of a plugin's settings.
func withName(k Key, d clip.Descriptor) string { return k.Kind.Dir() + "." + d.Name }

// pluginName returns the schema of a plugin's name: one that was found, or the path of another. Names with their kind
// in front are a pattern, so that editors do not propose every plugin twice.
func (s *schemaWriter) pluginName(k Key) object {
	var choices []any
	var names []string
	for _, d := range s.plugins(k) {
		choices = append(choices, object{"const": d.Name, "title": d.Name, "description": d.Summary})
		names = append(names, regexp.QuoteMeta(d.Name))
	}
	for _, ref := range sortedKeys(s.refused) {
		if name, ok := strings.CutPrefix(ref, k.Kind.Dir()+"/"); ok {
			choices = append(choices, object{"const": name, "title": name})
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	if names != nil {
		choices = append(choices, object{"pattern": "^" + k.Kind.Dir() + "/(" + strings.Join(names, "|") + ")$"})
	}
	return object{"type": "string", "anyOf": append(choices, object{"pattern": "/", "not": object{"pattern": kindFirst}})}
}

// kindFirst matches names of plugins with their kind in front; others with a slash are paths.
var kindFirst = func() string {
	var dirs []string
	for _, kind := range kinds {
		dirs = append(dirs, kind.Dir())
	}
	return "^(" + strings.Join(dirs, "|") + ")/"
}()

// withRules returns, for each plugin that a key may name, what its with block may contain.
func (s *schemaWriter) withRules(k Key) []any {
	var rules []any
	for _, d := range s.plugins(k) {
		name := withName(k, d)
		if s.definitions[name] == nil {
			s.definitions[name] = s.with(k, d)
		}
		rules = append(rules, object{"if": calls(k, d), "then": object{"properties": object{"with": ref(name)}}})
	}
	if rules == nil {
		return nil
	}
	// A file that extends another may leave the plugin to it: any plugin's settings are proposed then, and none refused.
	inherited := "inherited." + k.Kind.Dir() + string(k.Modality)
	if s.definitions[inherited] == nil {
		properties := object{}
		for f, refs := range s.settings(k) {
			properties[f] = anyOf(append(refs, true))
		}
		s.definitions[inherited] = object{"type": "object", "properties": properties}
	}
	return append(rules, object{
		"if":   object{"not": object{"required": []string{k.Name}}},
		"then": object{"properties": object{"with": ref(inherited)}},
	})
}

// settings returns, by name, where the settings of all plugins that a key may name are defined.
func (s *schemaWriter) settings(k Key) map[string][]any {
	out := map[string][]any{}
	for _, d := range s.plugins(k) {
		for f := range s.with(k, d)["properties"].(object) {
			out[f] = append(out[f], ref(withName(k, d)+"/properties/"+f))
		}
	}
	return out
}

func anyOf(choices []any) object {
	if len(choices) == 1 {
		return choices[0].(object)
	}
	return object{"anyOf": choices}
}

// calls returns the condition that a section names a plugin.
func calls(k Key, d clip.Descriptor) object {
	return object{"properties": object{k.Name: object{"enum": []string{d.Name, k.Kind.Dir() + "/" + d.Name}}}, "required": []string{k.Name}}
}

// withRequired returns, for each plugin that requires settings, that they be given.
func (s *schemaWriter) withRequired(k Key) []any {
	var rules []any
	for _, d := range s.plugins(k) {
		var required []string
		for _, f := range d.Schema {
			if f.Required {
				required = append(required, f.Name)
			}
		}
		if required != nil {
			with := object{"required": []string{"with"}, "properties": object{"with": object{"required": required}}}
			rules = append(rules, object{"if": calls(k, d), "then": with})
		}
	}
	return rules
}

// with returns the schema of a plugin's with block.
func (s *schemaWriter) with(k Key, d clip.Descriptor) object {
	properties := object{}
	fields := slices.Clone(d.Schema)
	if k.Kind == clip.KindEncoder {
		fields = append(fields, towerWidth)
	}
	for _, f := range fields {
		p := fieldSchema(f)
		p["title"] = k.Kind.Dir() + "/" + d.Name + ": " + f.Name
		f.Default = orZero(f)
		describeKey(p, f)
		properties[f.Name] = p
	}
	return object{
		"type": "object", "title": k.Kind.Dir() + "/" + d.Name + " " + d.Version, "description": d.Summary,
		"properties": properties, "additionalProperties": false,
	}
}

// orZero returns the value that a plugin's field has when it is left out; nil when there is none.
func orZero(f clip.Field) any {
	if f.Default != nil || f.Required {
		return f.Default
	}
	switch f.Type {
	case clip.TypeInt, clip.TypeFloat:
		if f.Min != nil && *f.Min > 0 {
			return nil
		}
		return 0
	case clip.TypeBool:
		return false
	}
	return nil
}
