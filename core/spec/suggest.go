package spec

import (
	"fmt"
	"slices"
	"strings"
)

// distance is the number of insertions, deletions, substitutions and swaps of neighbours between a
// and b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			best := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				best = min(best, rows[i-2][j-2]+1)
			}
			rows[i][j] = best
		}
	}
	return rows[len(a)][len(b)]
}

// nearest is the name closest to word, "" when none is close enough to be meant.
func nearest(word string, names []string) string {
	best, at := "", max(1, min(len(word)/3, 3))
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < at || d == at && best == "" {
			best, at = name, d
		}
	}
	return best
}

// accepts is a hint: who accepts which names, and which of them word is close to.
func accepts(who, word string, names []string) string {
	if len(names) == 0 {
		return who + " accepts nothing here"
	}
	text := fmt.Sprintf("%s accepts %s", who, strings.Join(names, ", "))
	if near := nearest(word, names); near != "" && !slices.Contains(names, word) {
		text += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return text
}
