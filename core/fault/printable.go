package fault

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Printable makes text that others wrote (a plugin, a file name, a caption, a spec) safe for a terminal. It
// escapes what a terminal obeys or hides: control characters (\x1b, \r, \a, those of C1), marks that change the
// direction of writing (\u202e), invisible characters and bytes that are not UTF-8. Line feeds and tabs stay.
func Printable(text string) string { return printable(text, true) }

// PrintableLine does as Printable does and also escapes line feeds and tabs, for text that has to stay on one
// line.
func PrintableLine(text string) string { return printable(text, false) }

// ValidUTF8 returns text with bytes that are not UTF-8 written as \xff, and everything else as it is.
func ValidUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[0])
		} else {
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

func printable(text string, lines bool) string {
	from := 0 // what is before it is in b
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !(r == utf8.RuneError && n == 1 || IsUnprintable(r)) || lines && (r == '\n' || r == '\t') {
			i += n
			continue
		}
		b.WriteString(text[from:i])
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
		from = i
	}
	if from == 0 {
		return text
	}
	b.WriteString(text[from:])
	return b.String()
}

// IsUnprintable reports whether a terminal obeys or hides a character instead of showing it: the controls of C0 and
// C1, line and paragraph separators, marks of direction, and characters without a width that no word needs. The
// joiners of emoji and of scripts (U+200C, U+200D) are shown.
func IsUnprintable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	case r == 0x61c, r == 0x200b, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f,
		r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r == 0xe0001:
		return true
	}
	return false
}
