package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
)

// Source names texts of a sample.
type Source struct {
	Member string // the ending of the member that has them, in lower case and without a dot: txt, meta.json
	// Field is the field of the JSON member that has them, with dots between the names of nested ones; "" when the member
	// itself is a text.
	Field string
	// Lines takes each line of a text for a text of its own.
	Lines bool
}

// ParseSource reads a Source as users write it: txt, or json:caption.
func ParseSource(text string) (Source, error) {
	member, field, isField := strings.Cut(strings.TrimSpace(text), ":")
	member = strings.ToLower(strings.TrimPrefix(member, "."))
	if member == "" || strings.ContainsAny(member, "/ \t") || isField && field == "" {
		return Source{}, fault.New(fault.Invalid, "%q names no text of a sample", text).WithHint("write the ending of a member, such as txt, or a field of a JSON member, such as json:caption")
	}
	return Source{Member: member, Field: field}, nil
}

// maxText limits the bytes of a member with texts.
const maxText = 16 << 20

// flaw describes what is wrong with a member.
type flaw struct{ reason, message string }

// plain returns the texts of a member: itself or its lines, none of them blank.
func plain(data []byte, lines bool) ([]string, *flaw) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, &flaw{reasonUTF8, "this text is not UTF-8"}
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, &flaw{reasonRecord, "this text has a NUL byte"}
	}
	text := strings.TrimSpace(string(data))
	switch {
	case text == "":
		return nil, nil
	case !lines:
		return []string{text}, nil
	}
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out, nil
}

// parse parses a JSON member.
func parse(data []byte) (map[string]json.RawMessage, *flaw) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, &flaw{reasonUTF8, "this JSON is not UTF-8"}
	}
	var out map[string]json.RawMessage
	err := json.Unmarshal(data, &out)
	if err != nil && (bytes.Contains(data, []byte("NaN")) || bytes.Contains(data, []byte("Infinity"))) {
		out = nil
		err = json.Unmarshal(withoutNaN(data), &out)
	}
	if err != nil {
		return nil, &flaw{reasonRecord, fmt.Sprintf("this is no JSON object: %v", err)}
	}
	return out, nil
}

// withoutNaN returns JSON with null for each NaN and Infinity outside of texts: Python writes those for numbers that are
// missing.
func withoutNaN(data []byte) []byte {
	out := make([]byte, 0, len(data))
	inText := false
	for i := 0; i < len(data); i++ {
		b := data[i]
		if inText {
			out = append(out, b)
			switch {
			case b == '\\' && i+1 < len(data):
				i++
				out = append(out, data[i])
			case b == '"':
				inText = false
			}
			continue
		}
		replaced := false
		for _, word := range []string{"NaN", "-Infinity", "Infinity"} {
			if bytes.HasPrefix(data[i:], []byte(word)) {
				out, replaced = append(out, "null"...), true
				i += len(word) - 1
				break
			}
		}
		if !replaced {
			out = append(out, b)
			inText = b == '"'
		}
	}
	return out
}

// field returns the texts in a field: of a text itself, of a list each, of a number or a truth value as they are written. A
// field that is not there, is null or holds objects has none.
func field(o map[string]json.RawMessage, name string) (out []string) {
	raw, ok := o[name]
	for at := 0; !ok; { // nested: the first name may have dots too
		dot := strings.IndexByte(name[at:], '.')
		if dot < 0 {
			return nil
		}
		at += dot + 1
		var inner map[string]json.RawMessage
		if outer, found := o[name[:at-1]]; found && json.Unmarshal(outer, &inner) == nil {
			return field(inner, name[at:])
		}
	}
	var list []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, one := range list {
		var text string
		switch {
		case len(one) == 0 || one[0] == '{' || one[0] == '[' || one[0] == 'n':
			continue
		case one[0] != '"':
			text = string(one)
		case json.Unmarshal(one, &text) != nil:
			continue
		}
		if text = strings.TrimSpace(strings.ReplaceAll(text, "\x00", "")); text != "" {
			out = append(out, text)
		}
	}
	return out
}
