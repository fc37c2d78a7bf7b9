// Package ftfy repairs text as the Python library of that name does ("fixes text for you", Speer 2019,
// doi:10.5281/zenodo.2591652; version 6.3.1 with its default settings), which CLIP's tokenizer applies
// to every caption: mojibake of ten code pages, HTML entities, ligatures, widths, quotes, line breaks,
// control characters and NFC.
//
// What counts as a sign of mojibake is ftfy's own data, in clues.json; tools/goldens/token/clues.py
// writes it.
package ftfy

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxSegment bounds the length of a line in characters: a longer one is cut there.
const maxSegment = 1_000_000

// maxRounds stops a repair that never comes to rest. Deeply nested entities are the only texts known to take
// more than a handful of rounds.
const maxRounds = 10_000

// FixText does what ftfy.fix_text does. Bytes that are not UTF-8 become U+FFFD first.
func FixText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	var out strings.Builder
	entities := true
	for len(text) > 0 {
		n := firstSegment(text)
		if strings.Contains(text[:n], "<") {
			entities = false // markup, from here on
		}
		out.WriteString(fixSegment(text[:n], entities))
		text = text[n:]
	}
	return out.String()
}

// firstSegment returns the length in bytes of the first line, its end included.
func firstSegment(text string) int {
	n := strings.IndexByte(text, '\n') + 1
	if n == 0 {
		n = len(text)
	}
	if n <= maxSegment || utf8.RuneCountInString(text[:n]) <= maxSegment {
		return n
	}
	count := 0
	for i := range text {
		if count == maxSegment {
			return i
		}
		count++
	}
	return n
}

func fixSegment(text string, entities bool) string {
	for range maxRounds {
		before := text
		if entities {
			text = unescapeWhole(text)
		}
		text = fixCharacters(fixEncoding(text))
		if text == before {
			break
		}
	}
	return text
}

var (
	terminalEscape = regexp.MustCompile(`\x1b\[(?:\p{Nd}|;)*[a-zA-Z]`)

	ligatures = strings.NewReplacer(
		"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
		"Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj",
		"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st")

	lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n")
)

// fixCharacters runs the steps that follow the encoding, one after the other.
func fixCharacters(text string) string {
	text = ligatures.Replace(fixC1(text))
	text = lineBreaks.Replace(each(text, func(b *strings.Builder, r rune) {
		switch {
		case r == 0x3000:
			b.WriteByte(' ')
		case r >= 0xff01 && r <= 0xffef:
			for _, r := range norm.NFKC.String(string(r)) {
				straighten(b, r)
			}
		default:
			straighten(b, r)
		}
	}))
	text = each(terminalEscape.ReplaceAllString(text, ""), func(b *strings.Builder, r rune) {
		if !isControl(r) {
			b.WriteRune(r)
		}
	})
	return composeNFC(text)
}

// straighten writes a curly quotation mark as its straight one, any other character as it is.
func straighten(b *strings.Builder, r rune) {
	switch {
	case r == 'ʼ', r >= '‘' && r <= '‛':
		b.WriteByte('\'')
	case r >= '“' && r <= '‟':
		b.WriteByte('"')
	default:
		b.WriteRune(r)
	}
}

func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r' || r == 0x7f ||
		r >= 0x206a && r <= 0x206f || r == 0xfeff || r >= 0xfff9 && r <= 0xfffc
}

// fixC1 reads C1 control characters as Windows-1252, as browsers do.
func fixC1(text string) string {
	return each(text, func(b *strings.Builder, r rune) {
		if r >= 0x80 && r <= 0x9f {
			r = windows1252.decode[r]
		}
		b.WriteRune(r)
	})
}

func each(text string, write func(*strings.Builder, rune)) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		write(&b, r)
	}
	return b.String()
}
