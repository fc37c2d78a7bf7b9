package token

import (
	"strings"
	"unicode/utf8"
)

// These special tokens are written as in OpenCLIP. In a caption they stand for the ids themselves.
const (
	startText = "<start_of_text>"
	endText   = "<end_of_text>"
)

// longStartText matches because case is ignored and the long s is a kind of s. It is a word like any other.
const longStartText = "<ſtart_of_text>"

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// split calls word for each match of OpenCLIP's pattern in a cleaned text, in order:
//
//	<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
//
// under IGNORECASE; a character that none of them matches is left out. A hand-written scanner, as RE2 has no need of backtracking here and a regular expression would take
// most of the time of training a vocabulary.
func split(text string, word func(string)) {
	for len(text) > 0 {
		n := specialLen(text)
		if n == 0 {
			r, size := utf8.DecodeRuneInString(text)
			switch {
			case isLetter(r):
				n = prefixLen(text, isLetter)
			case isNumber(r):
				n = size
			case isSpace(r), isNone(r):
				text = text[size:]
				continue
			default:
				n = prefixLen(text, isOther)
			}
		}
		word(text[:n])
		text = text[n:]
	}
}

// specialLen returns the length of the special token or contraction that text starts with, 0 for none.
func specialLen(text string) int {
	switch text[0] {
	case '<':
		for _, s := range []string{startText, longStartText, endText} {
			if strings.HasPrefix(text, s) {
				return len(s)
			}
		}
	case '\'':
		for _, c := range contractions {
			if strings.HasPrefix(text, c) {
				return len(c)
			}
		}
		if strings.HasPrefix(text, "'ſ") {
			return len("'ſ")
		}
	}
	return 0
}

// prefixLen returns the length in bytes of the longest prefix whose runes all match.
func prefixLen(text string, match func(rune) bool) int {
	for i, r := range text {
		if !match(r) {
			return i
		}
	}
	return len(text)
}
