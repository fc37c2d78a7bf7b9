package sample

import (
	"strings"

	"tandem/core/fault"
	"tandem/core/random"
)

// Placeholder is what a caption template has in place of the name.
const Placeholder = "{}"

// CheckTemplates finds templates without a placeholder; the fault carries path "with.templates".
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

// Fill is the template with name in place of every placeholder.
func Fill(template, name string) string { return strings.ReplaceAll(template, Placeholder, name) }

// FillAll is every template filled with name.
func FillAll(templates []string, name string) []string {
	out := make([]string, len(templates))
	for i, t := range templates {
		out[i] = Fill(t, name)
	}
	return out
}

// Choose is a uniformly chosen element of a list that is not empty.
func Choose[T any](s *random.Stream, list []T) T { return list[s.IntN(len(list))] }
