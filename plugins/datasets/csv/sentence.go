package main

import (
	"strings"

	"tandem/core/data/table"
	"tandem/core/fault"
)

// sentence is a caption with columns in it. Its parts are texts and columns in turn, a text first and last.
type sentence struct {
	texts   []string
	columns []string
}

// sentences returns the captions that are asked for, each column of captions as a sentence of nothing else.
func (c Config) sentences() ([]sentence, error) {
	if len(c.Captions) == 0 {
		if len(c.CaptionColumns) == 0 {
			return nil, fault.New(fault.Invalid, "no columns").WithPath("with.caption_columns")
		}
		var out []sentence
		for _, name := range c.CaptionColumns {
			out = append(out, sentence{texts: []string{"", ""}, columns: []string{name}})
		}
		return out, nil
	}
	var out []sentence
	for _, text := range c.Captions {
		s, err := parse(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// parse reads "a photo of {name}, {colour}". Two braces stand for one.
func parse(text string) (sentence, error) {
	bad := func(format string, args ...any) (sentence, error) {
		return sentence{}, fault.New(fault.Invalid, format, args...).WithPath("with.captions").
			WithHint(`a column stands in braces: "a photo of {name}"; {{ and }} are braces`)
	}
	var s sentence
	var part strings.Builder
	for rest := text; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			part.WriteString(rest)
			break
		}
		part.WriteString(rest[:at])
		if strings.HasPrefix(rest[at+1:], rest[at:at+1]) {
			part.WriteByte(rest[at])
			rest = rest[at+2:]
			continue
		}
		end := strings.IndexAny(rest[at+1:], "{}")
		if rest[at] == '}' || end < 0 || rest[at+1+end] == '{' {
			return bad("%q has a brace without its other one", text)
		}
		name := strings.TrimSpace(rest[at+1:][:end])
		if name == "" {
			return bad("%q has braces without the name of a column", text)
		}
		s.texts, s.columns = append(s.texts, part.String()), append(s.columns, name)
		part.Reset()
		rest = rest[at+end+2:]
	}
	s.texts = append(s.texts, part.String())
	if len(s.columns) == 0 {
		return bad("%q has no column", text)
	}
	return s, nil
}

// fill calls add with the texts that the sentence makes of a row: one, or each text of the cell when the sentence is nothing but a
// column, or none when a cell is empty. A list within a sentence is joined by commas.
func (s sentence) fill(cells []table.Cell, places []int, add func(string)) {
	if len(s.columns) == 1 && s.texts[0] == "" && s.texts[1] == "" {
		for _, text := range cells[places[0]] {
			add(text)
		}
		return
	}
	var out strings.Builder
	for i, at := range places {
		if len(cells[at]) == 0 {
			return
		}
		out.WriteString(s.texts[i])
		out.WriteString(strings.Join(cells[at], ", "))
	}
	out.WriteString(s.texts[len(places)])
	add(strings.TrimSpace(out.String()))
}
