package token

import (
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// Clean is the text that a tokenizer sees, as CLIP prepares it: repair, unescape HTML twice, strip,
// collapse white space, lower-case.
//
// The repair is the part of ftfy.fix_text (Speer 2019) that captions need: HTML entities when there is
// no "<", terminal escapes, mojibake of UTF-8 read as Windows-1252 (see repairMojibake), Latin ligatures,
// full-width and half-width forms, curly quotes, line breaks, control characters and NFC. Left out:
// other code pages' mojibake, lossy sequences (U+FFFD or "?" inside), and surrogates, which valid UTF-8
// does not have. Bytes that are no UTF-8 become U+FFFD. Lower-casing is full Unicode, as Python's.
func Clean(text string) string {
	if plain(text) {
		return strings.ToLower(collapse(text))
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	for range maxRepairs {
		fixed := text
		if !strings.Contains(fixed, "<") {
			fixed = unescape(fixed)
		}
		if fixed = fix(fixed); fixed == text {
			break
		}
		text = fixed
	}
	text = collapse(unescape(unescape(text)))
	return cases.Lower(language.Und).String(text)
}

// maxRepairs bounds how often a text is repaired: as often as it may have been damaged in practice.
const maxRepairs = 8

// plain says that a text is ASCII with nothing to repair: most are.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x7f || c == '&' || c < ' ' && c != '\t' && c != '\n' {
			return false
		}
	}
	return true
}

// collapse strips a text and makes every run of white space one space, as Python's " ".join(s.split()).
func collapse(text string) string {
	return strings.Join(strings.FieldsFunc(text, isSpace), " ")
}

// isSpace adds the separators 1C–1F, which Python counts as white space, to Unicode's.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

var numericReference = regexp.MustCompile("&#(?:[xX][0-9a-fA-F]+|[0-9]+);?")

// unescape resolves HTML entities, dropping references to control characters and noncharacters.
func unescape(text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	text = numericReference.ReplaceAllStringFunc(text, func(reference string) string {
		r, _ := utf8.DecodeRuneInString(html.UnescapeString(reference))
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r', r >= 0x7f && r <= 0x9f,
			r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
			return ""
		}
		return reference
	})
	return html.UnescapeString(text)
}

var (
	terminalEscape = regexp.MustCompile("\x1b\\[((?:[0-9]|;)*)([a-zA-Z])")

	characters = strings.NewReplacer(
		"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
		"Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj",
		"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st",
		"\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u3000", " ",
	)
)

// fix is the repair that Clean describes, after the entities.
func fix(text string) string {
	text = terminalEscape.ReplaceAllString(text, "")
	text = characters.Replace(repairMojibake(text))
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		switch {
		case r == 'ʼ', r >= '‘' && r <= '‛':
			b.WriteByte('\'')
		case r >= '“' && r <= '‟':
			b.WriteByte('"')
		case r >= 0xff01 && r <= 0xffef:
			b.WriteString(norm.NFKC.String(string(r)))
		case r >= 0x80 && r <= 0x9f: // a C1 control is a Windows-1252 character gone astray
			if w := windows1252[r-0x80]; w != 0 {
				r = w
			}
			b.WriteRune(r)
		case r < ' ' && r != '\t' && r != '\n' && r != '\f', r == 0x7f, r >= 0x206a && r <= 0x206f,
			r == 0xfeff, r >= 0xfff9 && r <= 0xfffc:
		default:
			b.WriteRune(r)
		}
	}
	return norm.NFC.String(b.String())
}

// windows1252 are the characters of bytes 80–9F; 0 where there is none.
var windows1252 = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}

var fromWindows1252 = map[rune]byte{}

func init() {
	for i, r := range windows1252 {
		if r != 0 {
			fromWindows1252[r] = byte(0x80 + i)
		}
	}
}

// byteOf is the byte that a character stands for when UTF-8 was read as Windows-1252 or Latin-1.
func byteOf(r rune) (byte, bool) {
	if r < 0x100 {
		return byte(r), true
	}
	b, ok := fromWindows1252[r]
	return b, ok
}

// repairMojibake turns "cafÃ©" into "café": each maximal run of characters that stand for bytes over
// 7F and that read as UTF-8 is replaced by what it reads as. Chance would have it that "É™" reads so
// too: two characters alone count only when they start with Â or Ã or when a longer run elsewhere shows
// that the text is damaged.
func repairMojibake(text string) string {
	var runs [][2]int // from, to
	damaged := false
	for i := 0; i < len(text); {
		raw, size := run(text[i:])
		if size == 0 {
			_, size = utf8.DecodeRuneInString(text[i:])
		} else {
			runs = append(runs, [2]int{i, i + size})
			damaged = damaged || len(raw) > 2
		}
		i += size
	}
	var b strings.Builder
	at := 0
	for _, r := range runs {
		raw, _ := run(text[r[0]:r[1]])
		if damaged || raw[0] == 0xc2 || raw[0] == 0xc3 {
			b.WriteString(text[at:r[0]])
			b.Write(raw)
			at = r[1]
		}
	}
	return b.String() + text[at:]
}

// run gives the bytes of the longest prefix of text that is whole UTF-8 sequences over 7F written as
// characters, and the prefix's length.
func run(text string) (raw []byte, size int) {
	for rest := text; ; {
		sequence, n := sequence(rest)
		if n == 0 {
			return raw, size
		}
		raw, size, rest = append(raw, sequence...), size+n, rest[n:]
	}
}

// sequence reads one multi-byte UTF-8 sequence written as characters. One that reads as a code point
// without a meaning is none.
func sequence(text string) (raw []byte, size int) {
	for i, r := range text {
		c, ok := byteOf(r)
		if !ok || c < 0x80 || len(raw) == utf8.UTFMax {
			return nil, 0
		}
		raw = append(raw, c)
		if len(raw) < 2 || !utf8.Valid(raw) {
			continue
		}
		if read, _ := utf8.DecodeRune(raw); !unicode.IsGraphic(read) && !unicode.Is(unicode.Cf, read) {
			return nil, 0
		}
		return raw, i + utf8.RuneLen(r)
	}
	return nil, 0
}
