package fault

import (
	"slices"
	"strings"
)

// Expand finds the candidate that a short form stands for: the candidate of that very name, or else the only one
// that ends with it after a slash or a dot (top1 for eval/emoji/top1). When several end so, it returns them and
// no full name.
func Expand(name string, candidates []string) (full string, several []string) {
	if slices.Contains(candidates, name) {
		return name, nil
	}
	for _, c := range candidates {
		if name != "" && (strings.HasSuffix(c, "/"+name) || strings.HasSuffix(c, "."+name)) && !slices.Contains(several, c) {
			several = append(several, c)
		}
	}
	if len(several) == 1 {
		return several[0], nil
	}
	return "", several
}

// Nearest returns the candidate that is most like name, for "did you mean" hints. It returns "" when more than a
// third of the letters differ in each. A candidate that name is a short form of (Expand) comes first. Case does
// not count; the first of equals wins.
func Nearest(name string, candidates []string) string {
	const longest = 200 // a name of more letters is none
	if full, several := Expand(name, candidates); full != "" || len(several) > 0 {
		return append(several, full)[0]
	}
	best, limit := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if len(name) > longest || len(c) > longest {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance returns the optimal string alignment distance of two texts: insertions, deletions, substitutions and
// swaps of neighbours cost 1 each.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range t {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(s)][len(t)]
}
