package spec

import (
	"regexp"
	"slices"
	"strings"

	"tandem/core/clip"
)

// ablate returns the schema of an ablate block, and defines those of a factor and of a level.
func (s *schemaWriter) ablate() object {
	keys := make([]Key, len(blockKeys))
	for i, k := range blockKeys {
		keys[i] = k.Key
	}
	out := demand(s.section(keys, "ablate."), s.required(keys))
	out["allOf"] = append(out["allOf"].([]any), designRules()...)
	s.definitions["level"] = s.level()
	s.definitions["factor"] = s.factor()
	return out
}

// designRules returns rules that forbid keys of other designs and ask for those that a design needs.
func designRules() []any {
	var rules []any
	for _, k := range blockKeys {
		if k.of != nil {
			rules = append(rules, object{
				"if":   object{"required": []string{k.Name}},
				"then": object{"properties": object{"design": object{"enum": k.of}}},
			})
		}
		if k.needed != nil {
			rules = append(rules, object{
				"if":   object{"required": []string{"design"}, "properties": object{"design": object{"enum": k.needed}}},
				"then": object{"required": []string{k.Name}},
			})
		}
	}
	return rules
}

// factor returns the schema of a factor: named levels, or one key with its values.
func (s *schemaWriter) factor() object {
	short := object{
		"type": "object", "additionalProperties": false, "required": []string{"key"},
		"properties": object{
			"key":       object{"description": "the key that varies", "anyOf": []any{object{"enum": s.places().names()}, object{"pattern": s.places().free()}}},
			whenKey:     when(),
			"choices":   object{"description": "its values, which name the levels", "type": "array", "minItems": 1, "items": object{"type": []string{"string", "number", "boolean"}}},
			"range":     rangeForm("its smallest and largest value; for design random and search"),
			"log_range": rangeForm("as range, uniform in the logarithm"),
		},
		"oneOf": []any{object{"required": []string{"choices"}}, object{"required": []string{"range"}}, object{"required": []string{"log_range"}}},
	}
	levels := object{"properties": object{whenKey: when()}, "additionalProperties": ref("level"), "propertyNames": object{"pattern": levelForm.String()}}
	var isShort []any
	for _, k := range shortKeys {
		isShort = append(isShort, object{"required": []string{k}, "properties": object{k: object{"not": object{"type": "object"}}}})
	}
	return object{"type": "object", "minProperties": 1, "if": object{"anyOf": isShort}, "then": short, "else": levels}
}

// when returns the schema of the conditions of a factor.
func when() object {
	scalar := object{"type": []string{"string", "number", "boolean"}}
	return object{
		"description": "the factor is part of a cell only where this holds: another factor has this level or one of these, or a key of the spec has this value or one of these",
		"type":        "object", "minProperties": 1,
		"additionalProperties": object{"anyOf": []any{scalar, object{"type": "array", "minItems": 1, "items": scalar}}},
	}
}

func rangeForm(help string) object {
	return object{"description": help, "type": "array", "minItems": 2, "maxItems": 2, "items": object{"type": "number"}}
}

// level returns the schema of a level: keys of a spec by their paths.
func (s *schemaWriter) level() object {
	at := s.places()
	properties, patterns := object{}, object{}
	for _, p := range at {
		if p.pattern != "" {
			patterns[p.pattern] = anyOf(p.values)
		} else {
			properties[p.name] = anyOf(p.values)
		}
	}
	patterns[at.free()] = true
	return object{"type": "object", "description": "what this level sets; {} changes nothing", "properties": properties, "patternProperties": patterns, "additionalProperties": false}
}

// place holds one place of a spec that a level can set.
type place struct {
	name    string // image.with.pool
	pattern string // of all such places, for those in lists
	values  []any  // the schema of its values; several when plugins differ
	inside  bool   // places inside it can be set too, of which the schema knows nothing
}

type places []place

// names returns the paths that are not in lists.
func (all places) names() []string {
	var out []string
	for _, p := range all {
		if p.pattern == "" {
			out = append(out, p.name)
		}
	}
	return out
}

// free returns the pattern of the places inside others.
func (all places) free() string {
	var inside []string
	for _, p := range all {
		if p.inside {
			inside = append(inside, strings.TrimSuffix(strings.TrimPrefix(orElse(p.pattern, regexp.QuoteMeta(p.name)), "^"), "$"))
		}
	}
	return `^(` + strings.Join(inside, "|") + `)[.\[].+$`
}

// index matches an index into a list, as paths write it, or the name of an element.
const index = `(\.[0-9]+|\[[A-Za-z0-9._-]+\])`

// places returns the places that a level can set, sections before what is in them.
func (s *schemaWriter) places() places {
	var out places
	var walk func(keys []Key, name, pattern, at string)
	walk = func(keys []Key, name, pattern, at string) {
		add := func(last string, inside bool, values ...any) {
			p := place{name: name + last, values: values, inside: inside}
			if pattern != "" {
				p.pattern = "^" + pattern + regexp.QuoteMeta(last) + "$"
			}
			out = append(out, p)
		}
		within := func(k Key) (string, string) {
			if pattern == "" {
				return name + k.Name + ".", ""
			}
			return name + k.Name + ".", pattern + k.Name + `\.`
		}
		for _, k := range keys {
			here := at + "/properties/" + k.Name
			if at == "#" && notInLevels[k.Name] != "" {
				continue
			}
			add(k.Name, !isScalar(k.Type), object{"$ref": here})
			switch k.Type {
			case typeSection:
				n, p := within(k)
				walk(k.Sub, n, p, here)
			case typeSections:
				list := regexp.QuoteMeta(name+k.Name) + index
				out = append(out, place{pattern: "^" + list + "$", values: []any{object{"$ref": here + "/items"}}})
				walk(k.Sub, "", list+`\.`, here+"/items")
			case typeMixture:
				n, p := within(k)
				walk(k.Alone, n, p, here+"/anyOf/0")
				list := regexp.QuoteMeta(name+k.Name) + index
				out = append(out, place{pattern: "^" + list + "$", values: []any{object{"$ref": here + "/anyOf/1/items"}}})
				walk(k.Sub, "", list+`\.`, here+"/anyOf/1/items")
			case typeWith:
				i := slices.IndexFunc(keys, func(k Key) bool { return k.Type == typePlugin })
				if i < 0 {
					continue
				}
				fields := s.settings(keys[i])
				for _, f := range sortedKeys(fields) {
					add(k.Name+"."+f, false, fields[f]...)
				}
			}
		}
	}
	walk(Keys, "", "", "#")
	return out
}

// isScalar reports whether a type's values have nothing in them that a path could name.
func isScalar(t clip.FieldType) bool {
	switch t {
	case clip.TypeInt, clip.TypeFloat, clip.TypeBool, clip.TypeString, clip.TypePath, clip.TypeSource,
		typePlugin, typeInterval, typeTimeout, typeMemory, typeDevice, typeSection, typeSections, typeMixture, typeShuffle, typeSwitch:
		return true
	}
	return false
}
