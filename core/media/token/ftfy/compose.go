package ftfy

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// joiner is inserted by package norm between the thirtieth mark on a character and the next ("stream-safe
// text"). Unicode's NFC and Python's insert nothing.
const joiner = "\u034f"

// composeNFC returns a text in Unicode's normalisation form C.
func composeNFC(text string) string {
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
		for combiningClass(runes[i]) != 0 && end < len(runes) && combiningClass(runes[end]) != 0 {
			end++
		}
		slices.SortStableFunc(runes[i:end], func(a, b rune) int { return int(combiningClass(a)) - int(combiningClass(b)) })
		i = end
	}
	out, starter, last := runes[:0], -1, uint8(0)
	for _, r := range runes {
		c := combiningClass(r)
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

// combiningClass returns the canonical combining class of a character.
func combiningClass(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }
