package ftfy

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

var (
	wholeEntity      = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	numericReference = regexp.MustCompile(`&#(?:[xX][0-9a-fA-F]+|[0-9]+);?`)
)

// missingEntities resolves the entities of HTML 5 that package html lacks.
var missingEntities = strings.NewReplacer("&nGt;", "\u226b\u20d2", "&nLt;", "\u226a\u20d2")

// resolve reads named entities. It takes "&#" for no number, because package html would make U+FFFD of "&#x;".
func resolve(text string) string {
	parts := strings.Split(missingEntities.Replace(text), "&#")
	for i, part := range parts {
		parts[i] = html.UnescapeString(part)
	}
	return strings.Join(parts, "&#")
}

// unescapeWhole resolves entities that end in a semicolon, and those of Latin letters written all in
// capitals.
func unescapeWhole(text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	return wholeEntity.ReplaceAllStringFunc(text, func(entity string) string {
		if entity[1] == '#' {
			if read := Unescape(entity); !strings.Contains(read, ";") {
				return read
			}
			return entity
		}
		if read, ok := resolveWhole(entity); ok {
			return read
		}
		if resolve(entity) == entity && entity == strings.ToUpper(entity) {
			if read, ok := resolveWhole(strings.ToLower(entity)); ok {
				return cases.Upper(language.Und).String(read)
			}
		}
		return entity
	})
}

// resolveWhole returns what an entity with its semicolon stands for, and false when no entity has that whole
// name.
func resolveWhole(entity string) (string, bool) {
	read := resolve(entity)
	return read, entity == "&semi;" || !strings.HasSuffix(read, ";")
}

// Unescape does what Python's html.unescape does: it resolves entities with and without semicolon, and numeric
// references.
func Unescape(text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	// What a reference stands for must not be read together with what follows: "&#38;lt;" is "&lt;".
	var out strings.Builder
	for {
		at := numericReference.FindStringIndex(text)
		if at == nil {
			out.WriteString(resolve(text))
			return out.String()
		}
		out.WriteString(resolve(text[:at[0]]))
		out.WriteString(decodeReference(text[at[0]:at[1]]))
		text = text[at[1]:]
	}
}

// decodeReference returns the character of a numeric reference by the rules of HTML 5, "" for those that stand
// for none.
func decodeReference(reference string) string {
	digits, base := strings.TrimSuffix(reference[2:], ";"), 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	r := rune(n)
	switch {
	case err != nil, n > utf8.MaxRune, n >= 0xd800 && n <= 0xdfff, n == 0:
		return "\uFFFD"
	case r >= 0x80 && r <= 0x9f:
		return string(windows1252.decode[r])
	case r < ' ' && r != '\t' && r != '\n' && r != '\f' && r != '\r', r == 0x7f,
		r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
		return ""
	}
	return string(r)
}
