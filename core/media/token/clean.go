package token

import (
	"strings"

	"tandem/core/media/token/ftfy"
)

// Clean returns the text that a tokenizer sees, prepared as CLIP does: ftfy repairs it, HTML entities are
// resolved twice, the ends are stripped, white space is collapsed and letters become lower case. Bytes that are
// not UTF-8 become U+FFFD.
func Clean(text string) string {
	if isPlainASCII(text) {
		return strings.ToLower(collapse(text))
	}
	text = ftfy.Unescape(ftfy.Unescape(ftfy.FixText(text)))
	return pythonLower(collapse(text))
}

// isPlainASCII reports whether a text is ASCII with nothing to repair, as most are.
func isPlainASCII(text string) bool {
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
