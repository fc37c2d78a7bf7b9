package token

import (
	_ "embed"
	"encoding/json"
	"strings"
	"unicode"
)

//go:embed classes.json
var classesJSON []byte

// These tables hold the classes of characters of OpenCLIP's pattern under IGNORECASE, as the module regex
// 2026.11.19 has them, and those of Python 3.13's str.lower(). Package unicode's belong to another version of
// Unicode. tools/goldens/token/classes.py writes the tables.
var letterTable, numberTable, noneTable, casedTable, ignorableTable *unicode.RangeTable

func init() {
	var c struct{ Letter, Number, None, Cased, Ignorable []uint32 }
	if err := json.Unmarshal(classesJSON, &c); err != nil {
		panic(err)
	}
	letterTable, numberTable, noneTable = rangeTable(c.Letter), rangeTable(c.Number), rangeTable(c.None)
	casedTable, ignorableTable = rangeTable(c.Cased), rangeTable(c.Ignorable)
}

// rangeTable makes a table from first and last code points in turn.
func rangeTable(bounds []uint32) *unicode.RangeTable {
	t := new(unicode.RangeTable)
	for i := 0; i < len(bounds); i += 2 {
		if first, last := bounds[i], bounds[i+1]; last <= 0xffff {
			t.R16 = append(t.R16, unicode.Range16{Lo: uint16(first), Hi: uint16(last), Stride: 1})
			if last <= unicode.MaxLatin1 {
				t.LatinOffset++
			}
		} else {
			t.R32 = append(t.R32, unicode.Range32{Lo: first, Hi: last, Stride: 1})
		}
	}
	return t
}

func isLetter(r rune) bool { return unicode.Is(letterTable, r) }
func isNumber(r rune) bool { return unicode.Is(numberTable, r) }

// isNone reports whether no part of the pattern matches r. That holds for U+0345 alone: ignoring case it is a
// letter, but as itself it is not.
func isNone(r rune) bool { return unicode.Is(noneTable, r) }

func isOther(r rune) bool { return !isLetter(r) && !isNumber(r) && !isSpace(r) && !isNone(r) }

// isSpace adds the separators 1C–1F, which Python counts as white space, to Unicode's.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// pythonLower does what Python's str.lower() does. It goes character by character, except that İ becomes two
// characters and that a sigma at the end of a word has a form of its own.
func pythonLower(text string) string {
	if !strings.ContainsAny(text, "İΣ") {
		return strings.ToLower(text)
	}
	runes := []rune(text)
	var out strings.Builder
	out.Grow(len(text) + 2)
	cased := false // whether a cased character stands before, ignorable ones passed over
	for i, r := range runes {
		switch {
		case r == 'İ':
			out.WriteString("i\u0307")
		case r == 'Σ' && cased && !casedNext(runes[i+1:]):
			out.WriteRune('ς')
		default:
			out.WriteRune(unicode.ToLower(r))
		}
		if !unicode.Is(ignorableTable, r) {
			cased = unicode.Is(casedTable, r)
		}
	}
	return out.String()
}

// casedNext reports whether the first character that is not ignorable is cased.
func casedNext(runes []rune) bool {
	for _, r := range runes {
		if !unicode.Is(ignorableTable, r) {
			return unicode.Is(casedTable, r)
		}
	}
	return false
}
