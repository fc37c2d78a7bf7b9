package hf

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tandem/core/fault"
)

// normalizer changes a text before it is cut.
type normalizer interface{ normalize(text string) string }

// normalizeFunc is a normalizer of one function.
type normalizeFunc func(string) string

func (f normalizeFunc) normalize(text string) string { return f(text) }

// normalizers apply one after the other.
type normalizers []normalizer

func (list normalizers) normalize(text string) string {
	for _, n := range list {
		text = n.normalize(text)
	}
	return text
}

// normalizerConfig has the fields of every normalizer.
type normalizerConfig struct {
	Type        string            `json:"type"`
	Normalizers []json.RawMessage `json:"normalizers"`

	CleanText          *bool `json:"clean_text"`
	HandleChineseChars *bool `json:"handle_chinese_chars"`
	StripAccents       *bool `json:"strip_accents"`
	Lowercase          *bool `json:"lowercase"`

	StripLeft  bool `json:"strip_left"`
	StripRight bool `json:"strip_right"`

	Prepend string          `json:"prepend"`
	Pattern json.RawMessage `json:"pattern"`
	Content string          `json:"content"`

	Charsmap []byte `json:"precompiled_charsmap"`
}

// parseNormalizer makes the normalizer of a JSON object; nil for null.
func parseNormalizer(raw json.RawMessage, path string) (normalizer, error) {
	var c normalizerConfig
	if err := parsePart(raw, &c, path); err != nil || isNull(raw) {
		return nil, err
	}
	switch c.Type {
	case "Sequence":
		list := normalizers{}
		for i, r := range c.Normalizers {
			n, err := parseNormalizer(r, fmt.Sprintf("%s.%d", path, i))
			if err != nil {
				return nil, err
			}
			if n != nil {
				list = append(list, n)
			}
		}
		return list, nil
	case "NFC", "NFD", "NFKC", "NFKD":
		form := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[c.Type]
		return normalizeFunc(func(s string) string { return unicodeForm(form, s) }), nil
	case "Lowercase":
		return normalizeFunc(lower), nil
	case "StripAccents":
		return normalizeFunc(func(s string) string { return remove(s, isMark) }), nil
	case "BertNormalizer":
		return newBert(c), nil
	case "Strip":
		return normalizeFunc(func(s string) string {
			if c.StripLeft {
				s = strings.TrimLeftFunc(s, isSpace)
			}
			if c.StripRight {
				s = strings.TrimRightFunc(s, isSpace)
			}
			return s
		}), nil
	case "Prepend":
		return normalizeFunc(func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		}), nil
	case "Replace":
		p, err := parsePattern(c.Pattern, path)
		if err != nil {
			return nil, err
		}
		return normalizeFunc(func(s string) string { return p.replace(s, c.Content) }), nil
	case "Nmt":
		return normalizeFunc(nmt), nil
	case "ByteLevel":
		return normalizeFunc(byteLevel), nil
	case "Precompiled":
		return newCharsmap(c.Charsmap, path)
	}
	return nil, unsupported(path, c.Type)
}

// parsePart reads the JSON of a part into to.
func parsePart(raw json.RawMessage, to any, path string) error {
	if isNull(raw) {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fault.New(fault.Corrupt, "tokenizer.json: %w", err).WithPath(path)
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// joiner is inserted by package norm between the thirtieth mark on a character and the next; Unicode's forms and the
// library insert nothing.
const joiner = "\u034f"

// unicodeForm returns a text in one of Unicode's normal forms. Characters that the library does not take apart, because they
// are newer than its Unicode, stay whole.
func unicodeForm(form norm.Form, text string) string {
	if i := strings.IndexFunc(text, isNewer); i >= 0 {
		_, n := utf8.DecodeRuneInString(text[i:])
		return unicodeForm(form, text[:i]) + text[i:i+n] + unicodeForm(form, text[i+n:])
	}
	out := form.String(text)
	if strings.Contains(out, joiner) && !strings.Contains(text, joiner) {
		out = strings.ReplaceAll(out, joiner, "")
	}
	return out
}

// lower makes every character lower case by itself: a sigma at the end of a word has no form of its own.
func lower(text string) string {
	if strings.ContainsRune(text, 'İ') {
		text = strings.ReplaceAll(text, "İ", "i\u0307")
	}
	return strings.ToLower(text)
}

func isNewer(r rune) bool {
	return r >= 0x3000 && !unicode.Is(decomposedTable, r) && norm.NFKD.PropertiesString(string(r)).Decomposition() != nil
}

func remove(text string, match func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if match(r) {
			return -1
		}
		return r
	}, text)
}

// newBert makes BERT's normalizer: control characters go, spaces become plain, Chinese characters stand alone, accents
// and capitals go.
func newBert(c normalizerConfig) normalizer {
	on := func(b *bool, otherwise bool) bool {
		if b == nil {
			return otherwise
		}
		return *b
	}
	lowercase := on(c.Lowercase, true)
	clean, chinese, accents := on(c.CleanText, true), on(c.HandleChineseChars, true), on(c.StripAccents, lowercase)
	return normalizeFunc(func(text string) string {
		if clean {
			text = strings.Map(cleanRune, text)
		}
		if chinese && strings.ContainsFunc(text, isChinese) {
			var out strings.Builder
			for _, r := range text {
				if isChinese(r) {
					out.WriteByte(' ')
					out.WriteRune(r)
					out.WriteByte(' ')
				} else {
					out.WriteRune(r)
				}
			}
			text = out.String()
		}
		if accents {
			text = remove(unicodeForm(norm.NFD, text), isNonspacing)
		}
		if lowercase {
			text = lower(text)
		}
		return text
	})
}

// cleanRune maps a character to what BERT's cleaning makes of it, -1 for nothing.
func cleanRune(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case r == 0 || r == utf8Replacement || isControl(r):
		return -1
	case isSpace(r):
		return ' '
	}
	return r
}

const utf8Replacement = unicode.ReplacementChar

// isChinese has the blocks that BERT's code takes for Chinese, with its own bounds.
func isChinese(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf || r >= 0xf900 && r <= 0xfaff ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b73f || r >= 0x2b740 && r <= 0x2b81f ||
		r >= 0x2b920 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f
}

// nmt does what the normalisation of Google's NMT does to control characters and spaces.
func nmt(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xb, r >= 0xe && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		case r == 9, r == 0xa, r == 0xc, r == 0xd, r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029,
			r == 0x2581, r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	}, text)
}
