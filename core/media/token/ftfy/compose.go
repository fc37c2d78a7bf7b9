package ftfy

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// joiner is what package norm puts between the thirtieth mark on a character and the next ("stream-safe
// text"), which Unicode's NFC and Python's do not.
const joiner = "\u034f"

// compose is Unicode's normalisation form C.
func compose(text string) string {
	fast := norm.NFC.String(text)
	if strings.Count(fast, joiner) == strings.Count(text, joiner) {
		return fast
	}
	var runes []rune
	for _, r := range text {
		runes = append(runes, []rune(norm.NFD.String(string(r)))...)
	}
	for i := 0; i < len(runes); {
		end := i + 1
		for class(runes[i]) != 0 && end < len(runes) && class(runes[end]) != 0 {
			end++
		}
		slices.SortStableFunc(runes[i:end], func(a, b rune) int { return int(class(a)) - int(class(b)) })
		i = end
	}
	out, starter, last := runes[:0], -1, uint8(0)
	for _, r := range runes {
		c := class(r)
		if starter >= 0 && (starter == len(out)-1 || last != 0 && last < c) {
			if joined := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(joined) == 1 {
				out[starter] = joined[0]
				continue
			}
		}
		out = append(out, r)
		if last = c; c == 0 {
			starter = len(out) - 1
		}
	}
	return string(out)
}

// class is a character's canonical combining class.
func class(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }
