package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNames bounds the names of one pattern.
const maxNames = 1 << 20

// Braces expands a pattern as a shell does: {000..099} counts, with the zeros in front, {3..0} counts down, and {a,b} lists. Braces that are
// neither stay as they are.
func Braces(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	for ; open >= 0; open = next(pattern, open) {
		length := strings.IndexByte(pattern[open:], '}')
		if length < 0 {
			break
		}
		parts := alternatives(pattern[open+1 : open+length])
		if parts == nil {
			continue
		}
		var out []string
		for _, rest := range Braces(pattern[open+length+1:]) {
			if len(parts)*len(out) > maxNames {
				return []string{pattern}
			}
			out = append(out, rest)
		}
		all := make([]string, 0, len(parts)*len(out))
		for _, part := range parts {
			for _, rest := range out {
				all = append(all, pattern[:open]+part+rest)
			}
		}
		return all
	}
	return []string{pattern}
}

// next returns the place of the next opening brace behind one; -1 for none.
func next(pattern string, open int) int {
	at := strings.IndexByte(pattern[open+1:], '{')
	if at < 0 {
		return -1
	}
	return open + 1 + at
}

// alternatives returns what stands between braces stands for; nil when they are no range and no list.
func alternatives(inside string) []string {
	if from, to, ok := strings.Cut(inside, ".."); ok {
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || a < 0 || b < 0 || max(a, b)-min(a, b) >= maxNames {
			return nil
		}
		low, high := min(a, b), max(a, b)
		out := make([]string, 0, high-low+1)
		for i := low; i <= high; i++ {
			out = append(out, fmt.Sprintf("%0*d", len(from), i))
		}
		if b < a {
			slices.Reverse(out)
		}
		return out
	}
	if strings.Contains(inside, ",") {
		return strings.Split(inside, ",")
	}
	return nil
}
