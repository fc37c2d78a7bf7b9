package spec

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/fault"
)

// acceptsHint returns a hint: who accepts which names, and which of them word is close to.
func acceptsHint(who, word string, names []string) string {
	if len(names) == 0 {
		return who + " accepts nothing here"
	}
	text := fmt.Sprintf("%s accepts %s", who, strings.Join(names, ", "))
	if near := fault.Nearest(word, names); near != "" && !slices.Contains(names, word) {
		text += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return text
}
