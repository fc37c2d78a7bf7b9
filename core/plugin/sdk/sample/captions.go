package sample

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"tandem/core/fault"
	"tandem/core/random"
)

// Placeholder stands for the name in a caption template.
const Placeholder = "{}"

// CheckTemplates reports templates without a placeholder; the fault has the path "with.templates".
func CheckTemplates(templates []string) error {
	if len(templates) == 0 {
		return fault.New(fault.Invalid, "no templates").WithPath("with.templates").WithHint(`["{}"] is the bare name`)
	}
	for _, t := range templates {
		if !strings.Contains(t, Placeholder) {
			return fault.New(fault.Invalid, "%q has no {} for the name", t).WithPath("with.templates")
		}
	}
	return nil
}

// Fill returns the template with name in place of every placeholder.
func Fill(template, name string) string { return strings.ReplaceAll(template, Placeholder, name) }

// FillAll fills every template with name.
func FillAll(templates []string, name string) []string {
	out := make([]string, len(templates))
	for i, t := range templates {
		out[i] = Fill(t, name)
	}
	return out
}

// Distinct collects texts, each once, in the order of their first appearance.
type Distinct struct {
	List []string
	seen map[string]bool // of long lists
}

// Add appends a text unless the list has it.
func (d *Distinct) Add(text string) {
	const long = 16 // below it looking through the list costs less
	if d.seen == nil && len(d.List) >= long {
		d.seen = make(map[string]bool, 2*len(d.List))
		for _, t := range d.List {
			d.seen[t] = true
		}
	}
	if d.seen[text] || d.seen == nil && slices.Contains(d.List, text) {
		return
	}
	if d.seen != nil {
		d.seen[text] = true
	}
	d.List = append(d.List, text)
}

// maxAlike limits the names in one remark.
const maxAlike = 5

// Alike returns a sentence on names of classes that are equal, or differ only in capitals, spaces, underscores,
// dashes or quotes. It returns none when all differ more.
func Alike(classes []string) []string {
	first := make(map[string]string, len(classes))
	var pairs []string
	n := 0
	for _, c := range classes {
		plain := strings.Join(strings.FieldsFunc(strings.ToLower(c), func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune("_-\"'`", r)
		}), " ")
		before, ok := first[plain]
		if !ok {
			first[plain] = c
			continue
		}
		if n++; n <= maxAlike {
			pairs = append(pairs, fmt.Sprintf("%q and %q", before, c))
		}
	}
	if n == 0 {
		return nil
	}
	if n > maxAlike {
		pairs = append(pairs, fmt.Sprintf("%d more", n-maxAlike))
	}
	return []string{"classes whose names hardly differ are told apart: " + strings.Join(pairs, ", ")}
}

// Choose returns a uniformly chosen element of a list, which must not be empty.
func Choose[T any](s *random.Stream, list []T) T { return list[s.IntN(len(list))] }
