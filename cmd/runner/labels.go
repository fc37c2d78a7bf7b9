package main

import (
	"encoding/csv"
	"strings"

	"tandem/core/experiment/infer"
	"tandem/core/fault"
)

// textsOf returns what a repeatable flag lists: for @FILE the lines of a text file, for anything else the value, split at its
// commas if commas is set. Quotes keep a comma: 'cat,"dog, big"'; one in the middle of a text is only a quote.
func textsOf(flag string, values []string, commas bool) ([]string, error) {
	var out []string
	for _, v := range values {
		if name, isFile := strings.CutPrefix(v, "@"); isFile {
			lines, err := infer.Lines(name)
			if err != nil {
				return nil, err
			}
			if len(lines) == 0 {
				return nil, fault.New(fault.Invalid, "%s has no lines", name).WithPath(flag)
			}
			out = append(out, lines...)
			continue
		}
		if !commas {
			out = append(out, v)
			continue
		}
		in := csv.NewReader(strings.NewReader(v))
		in.LazyQuotes, in.TrimLeadingSpace = true, true
		list, err := in.Read()
		if err != nil {
			return nil, usage{fault.New(fault.Invalid, "%s %q: %w", flag, v, err).WithHint("%s cat,dog or %s @file", flag, flag)}
		}
		for i, text := range list {
			if list[i] = strings.TrimSpace(text); list[i] == "" {
				return nil, usage{fault.New(fault.Invalid, "%s %q: number %d is empty", flag, v, i+1)}
			}
		}
		out = append(out, list...)
	}
	return out, nil
}
