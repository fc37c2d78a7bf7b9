package token

import (
	"strings"

	"tandem/core/media/token/ftfy"
)

// Clean is the text that a tokenizer sees, as CLIP prepares it: repaired by ftfy, HTML entities
// resolved twice, stripped, white space collapsed, lower case. Bytes that are no UTF-8 become U+FFFD.
func Clean(text string) string {
	if plain(text) {
		return strings.ToLower(collapse(text))
	}
	text = ftfy.Unescape(ftfy.Unescape(ftfy.FixText(text)))
	return lower(collapse(text))
}

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
