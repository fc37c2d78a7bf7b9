package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"

	"tandem/core/fault"
)

// param holds one flattened value; kind is number, text, bool, json or null.
type param struct {
	key   string
	kind  string
	value any
}

// flatten gives the leaves of nested maps by dotted key, sorted. Lists and empty maps become JSON.
// A value that is none of the types of JSON or YAML is fault.Invalid.
func flatten(values map[string]any) ([]param, error) {
	var params []param
	if err := flattenInto(&params, "", values); err != nil {
		return nil, err
	}
	sort.Slice(params, func(i, j int) bool { return params[i].key < params[j].key })
	return params, nil
}

func flattenInto(params *[]param, prefix string, values map[string]any) error {
	for name, v := range values {
		key := name
		if prefix != "" {
			key = prefix + "." + name
		}
		if inner, ok := v.(map[string]any); ok && len(inner) > 0 {
			if err := flattenInto(params, key, inner); err != nil {
				return err
			}
			continue
		}
		p, err := newParam(key, v)
		if err != nil {
			return err
		}
		*params = append(*params, p)
	}
	return nil
}

func newParam(key string, v any) (param, error) {
	switch v := v.(type) {
	case nil:
		return param{key, "null", nil}, nil
	case string:
		return param{key, "text", v}, nil
	case bool:
		return param{key, "bool", fmt.Sprint(v)}, nil
	case int:
		return param{key, "number", int64(v)}, nil
	case int32:
		return param{key, "number", int64(v)}, nil
	case int64:
		return param{key, "number", v}, nil
	case uint64:
		if v <= math.MaxInt64 {
			return param{key, "number", int64(v)}, nil
		}
		return param{key, "text", fmt.Sprint(v)}, nil // SQLite's integers are signed; a float would round
	case float32:
		return param{key, "number", float64(v)}, nil
	case float64:
		return param{key, "number", nullable(v)}, nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return param{key, "number", i}, nil
		}
		if f, err := v.Float64(); err == nil {
			return param{key, "number", f}, nil
		}
		return param{key, "text", v.String()}, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return param{}, fault.New(fault.Invalid, "%T cannot be stored: %w", v, err).WithPath(key)
	}
	return param{key, "json", string(text)}, nil
}

// settingID returns the row of a key with its value, and makes it when it is new: runs share them.
func (b *batch) settingID(p param) (int64, error) {
	if id, ok := b.w.settings[p]; ok {
		return id, nil
	}
	if id, ok := b.settings[p]; ok {
		return id, nil
	}
	var id int64
	err := b.row("SELECT id FROM setting WHERE key = ? AND value IS ? AND type = ?", p.key, p.value, p.kind).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var made sql.Result
		if made, err = b.exec("INSERT INTO setting (key, type, value) VALUES (?,?,?)", p.key, p.kind, p.value); err == nil {
			id, err = made.LastInsertId()
		}
	}
	if err != nil {
		return 0, err
	}
	b.settings[p] = id
	return id, nil
}

func jsonText[K comparable, V any](m map[K]V) string {
	if len(m) == 0 {
		return "{}"
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // maps of strings and numbers always marshal
	}
	return string(text)
}
