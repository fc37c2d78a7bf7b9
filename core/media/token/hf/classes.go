package hf

import (
	_ "embed"
	"encoding/json"
	"unicode"
)

//go:embed classes.json
var classesJSON []byte

// These tables hold the classes of characters as the library has them; some are of older versions of Unicode than package
// unicode's. tools/goldens/token/hf_classes.py writes them.
var controlTable, nonspacingTable, markTable, punctuationTable, numericTable, wordTable, decomposedTable *unicode.RangeTable

func init() {
	var c struct{ Control, Nonspacing, Mark, Punctuation, Numeric, Word, Decomposed []uint32 }
	if err := json.Unmarshal(classesJSON, &c); err != nil {
		panic(err)
	}
	controlTable, nonspacingTable, markTable = rangeTable(c.Control), rangeTable(c.Nonspacing), rangeTable(c.Mark)
	punctuationTable, numericTable, wordTable = rangeTable(c.Punctuation), rangeTable(c.Numeric), rangeTable(c.Word)
	decomposedTable = rangeTable(c.Decomposed)
}

// rangeTable makes a table from first and last code points in turn.
func rangeTable(bounds []uint32) *unicode.RangeTable {
	t := new(unicode.RangeTable)
	for i := 0; i < len(bounds); i += 2 {
		first, last := bounds[i], bounds[i+1]
		if first <= 0xffff && last > 0xffff {
			t.R16 = append(t.R16, unicode.Range16{Lo: uint16(first), Hi: 0xffff, Stride: 1})
			first = 0x10000
		}
		if last > 0xffff {
			t.R32 = append(t.R32, unicode.Range32{Lo: first, Hi: last, Stride: 1})
			continue
		}
		t.R16 = append(t.R16, unicode.Range16{Lo: uint16(first), Hi: uint16(last), Stride: 1})
		if last <= unicode.MaxLatin1 {
			t.LatinOffset++
		}
	}
	return t
}

func isSpace(r rune) bool       { return unicode.IsSpace(r) }
func isControl(r rune) bool     { return unicode.Is(controlTable, r) }
func isNonspacing(r rune) bool  { return unicode.Is(nonspacingTable, r) }
func isMark(r rune) bool        { return unicode.Is(markTable, r) }
func isPunctuation(r rune) bool { return unicode.Is(punctuationTable, r) }
func isNumeric(r rune) bool     { return unicode.Is(numericTable, r) }
func isWord(r rune) bool        { return unicode.Is(wordTable, r) }
