package spec

import "tandem/core/clip"

// forms holds the JSON Schema of the types that are not clip's. A new type needs an entry here; a test asks for it.
// Patterns stay within what both Go and ECMAScript read.
var forms = map[clip.FieldType]object{
	typeInterval: {
		"type": []string{"integer", "string"}, "minimum": 0, "pattern": `^\s*([0-9]+(\s+steps?)?|[+]?[0-9.]+([eE][-+]?[0-9]+)?\s+epochs?)\s*$`,
		"examples": []any{200, "1 epoch"},
	},
	typeTimeout: {
		"type": []string{"integer", "string"}, "minimum": 0, "pattern": `^[0-9.]+\s*(s|seconds?|min|mins|minutes?|h|hs|hours?)?\s*$`,
		"examples": []any{"90 s", "10 min", "1 h", 0},
	},
	typeMemory: {"type": "string", "pattern": `^((100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+)\s*%|[0-9.]+\s*([kKmMgG]?[bB]|[kKmMgG][iI][bB]))\s*$`, "examples": []any{"20 GiB", "50%"}},
	typeDevice: {
		"type": "string", "anyOf": []any{object{"enum": knownDevices}, object{"pattern": cuda.String()}},
	},
	typeShuffle: {"enum": []any{true, false, ShuffleGlobal, ShuffleShards}},
	typeSwitch:  {"enum": []any{true, false, string(Auto)}},
	typeLines: {"anyOf": []any{
		object{"type": "array", "items": object{"type": "string"}},
		object{"type": "object", "properties": object{"file": object{"type": "string", "description": "a text file, one a line"}}, "required": []string{"file"}, "additionalProperties": false},
	}},
	typeReport: {"type": "array", "items": object{"anyOf": trackerForms()}},
	typeFreeze: {"anyOf": []any{
		object{"enum": freezeNames},
		plainMap(freezeKeys, object{"minProperties": 1}),
	}},
	typeByTower: {"anyOf": []any{
		bounded(object{"type": "number"}, layerDecayKeys[0].Field),
		plainMap(layerDecayKeys, object{}),
	}},
	typeAugment: {"anyOf": []any{
		object{"enum": augmentNames},
		augmentForm(),
	}},
	typeRetries: {"anyOf": []any{
		bounded(object{"type": "integer"}, fieldOf("retries")),
		plainMap(retryKeys, object{}),
	}},
	typeBackoff: {"type": "string", "pattern": `^[+]?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m))+$|^0$`, "examples": []any{"2s", "500ms"}},
	typeLevels:  assignmentForm,
	typeAssignments: {
		"type": "array", "minItems": 1, "items": object{"type": "object", "minProperties": 1, "additionalProperties": assignmentForm["additionalProperties"]},
	},
	typeFactors: {
		"type": "object", "minProperties": 1, "additionalProperties": ref("factor"), "propertyNames": object{"pattern": levelForm.String()},
	},
}

// assignmentForm describes levels by factor. Names of levels may look like numbers.
var assignmentForm = object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean"}}}

// trackerForms describes the entries of report: a name, or a map of it to its settings.
func trackerForms() []any {
	forms := []any{object{"enum": Trackers()}}
	for _, k := range trackerKeys {
		settings := plainMap(k.Sub, object{})
		settings["description"] = k.Help
		forms = append(forms, object{"type": "object", "properties": object{k.Name: settings}, "required": []string{k.Name}, "additionalProperties": false})
	}
	return forms
}

// augmentForm describes augmentations as a map.
func augmentForm() object {
	properties := object{augmentNames[1]: object{"anyOf": []any{object{"const": "none"}, plainMap(cropKeys, object{})}}}
	for _, k := range alterKeys {
		p := fieldSchema(k.Field)
		if k.Type == typeSection {
			p = plainMap(k.Sub, object{})
		}
		describeKey(p, k.Field)
		properties[k.Name] = p
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// plainMap returns the schema of a map whose keys have types of clip's, with more rules.
func plainMap(keys []Key, more object) object {
	properties := object{}
	for _, k := range keys {
		p := fieldSchema(k.Field)
		describeKey(p, k.Field)
		properties[k.Name] = p
	}
	more["type"], more["properties"], more["additionalProperties"] = "object", properties, false
	return more
}
