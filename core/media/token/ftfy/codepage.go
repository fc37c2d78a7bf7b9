package ftfy

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// codepage describes an encoding with one byte a character. In a sloppy one, unassigned bytes stand for the
// character of the same number, and the byte 1A stands for U+FFFD.
type codepage struct {
	sloppy bool
	mac    bool
	decode [256]rune
	encode map[rune]byte
}

const lost = 0x1a

// codepages lists the code pages in the order in which they are tried.
var codepages = []*codepage{
	newCodepage(charmap.ISO8859_1, false), windows1252, newCodepage(charmap.Windows1251, true),
	newCodepage(charmap.Windows1250, true), newCodepage(charmap.Windows1253, true), newCodepage(charmap.Windows1254, true),
	newCodepage(charmap.Windows1257, true), newCodepage(charmap.ISO8859_2, false),
	newCodepage(charmap.Macintosh, false), newCodepage(charmap.CodePage437, false),
}

var windows1252 = newCodepage(charmap.Windows1252, true)

func newCodepage(m *charmap.Charmap, sloppy bool) *codepage {
	p := &codepage{sloppy: sloppy, mac: m == charmap.Macintosh, encode: map[rune]byte{}}
	for b := range 256 {
		r := m.DecodeByte(byte(b))
		if r == utf8.RuneError {
			r = rune(b)
		}
		if sloppy && b == lost {
			r = utf8.RuneError
		}
		p.decode[b], p.encode[r] = r, byte(b)
	}
	return p
}

// bytesOf encodes a text. It writes each byte as the character of its number, and returns false when a
// character has no byte.
func (p *codepage) bytesOf(text string) (string, bool) {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		c, ok := p.encode[r]
		if !ok {
			return "", false
		}
		b.WriteRune(rune(c))
	}
	return b.String(), true
}

// fromUTF8 reads bytes, written as bytesOf does, as UTF-8. It returns false when they are not.
func fromUTF8(bytes string) (string, bool) {
	raw := make([]byte, 0, len(bytes))
	variants := false
	for _, r := range bytes {
		raw = append(raw, byte(r))
		variants = variants || r == 0xed || r == 0xc0
	}
	if variants {
		raw = standardUTF8(raw)
	}
	return string(raw), utf8.Valid(raw)
}

// standardUTF8 replaces what CESU-8 and Java write differently: pairs of surrogates of three bytes each, and
// the null character as C0 80. (Like ftfy it takes C0 before the line's end for a null, too.)
func standardUTF8(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		switch {
		case raw[0] == 0xc0 && len(raw) > 1 && (raw[1] == 0x80 || raw[1] == '\n' && len(raw) == 2):
			out, raw = append(out, 0), raw[2:]
		case len(raw) >= 6 && raw[0] == 0xed && raw[1]&0xf0 == 0xa0 && raw[2]&0xc0 == 0x80 &&
			raw[3] == 0xed && raw[4]&0xf0 == 0xb0 && raw[5]&0xc0 == 0x80:
			r := rune(raw[1]&0x0f)<<16 | rune(raw[2]&0x3f)<<10 | rune(raw[4]&0x0f)<<6 | rune(raw[5]&0x3f)
			out, raw = utf8.AppendRune(out, r+0x10000), raw[6:]
		default:
			out, raw = append(out, raw[0]), raw[1:]
		}
	}
	return out
}
