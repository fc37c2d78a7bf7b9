package ftfy

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

//go:embed clues.json
var cluesJSON []byte

var (
	bad      *regexp.Regexp // text that can hardly be meant
	detector *regexp.Regexp // sequences that look like UTF-8 read as another encoding
	strict   *regexp.Regexp // one character that continues such a sequence
)

func init() {
	var c struct {
		Badness      string
		First2       string `json:"utf8_first_of_2"`
		First3       string `json:"utf8_first_of_3"`
		First4       string `json:"utf8_first_of_4"`
		Continuation string `json:"utf8_continuation"`
		Strict       string `json:"utf8_continuation_strict"`
	}
	if err := json.Unmarshal(cluesJSON, &c); err != nil {
		panic(err)
	}
	bad, strict = regexp.MustCompile(c.Badness), regexp.MustCompile(c.Strict)
	detector = regexp.MustCompile("(?:" + c.First2 + c.Continuation + "|" + c.First3 + c.Continuation + "{2}|" +
		c.First4 + c.Continuation + "{3})+")
}

// fixEncoding undoes layers of mojibake until none is left.
func fixEncoding(text string) string {
	for range maxRounds {
		fixed := fixLayer(text)
		if fixed == text {
			break
		}
		text = fixed
	}
	return text
}

// fixLayer undoes one layer. It reads the whole text as UTF-8 when some code page allows it; else it repairs
// the sequences inside that look like UTF-8, else the C1 controls.
func fixLayer(text string) string {
	if isASCII(text) || !bad.MatchString(text) {
		return text
	}
	for _, page := range codepages {
		raw, ok := page.bytesOf(text)
		if !ok {
			continue
		}
		if !page.mac { // where A0 is a common character, and a space after a dash too
			raw = restoreA0(raw)
		}
		if page.sloppy {
			raw = lossy.ReplaceAllString(raw, "\u00ef\u00bf\u00bd") // U+FFFD in UTF-8
		}
		if fixed, ok := fromUTF8(raw); ok {
			return fixed
		}
	}
	if fixed := fixInside(text); fixed != text {
		return fixed
	}
	return fixC1(text)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// fixInside repairs the sequences of a text that look like mojibake, each on its own.
func fixInside(text string) string {
	var out strings.Builder
	done, from := 0, 0
	for {
		at := detector.FindStringIndex(text[from:])
		if at == nil {
			out.WriteString(text[done:])
			return out.String()
		}
		start, end := from+at[0], from+at[1]
		if last, size := utf8.DecodeLastRuneInString(text[:start]); size > 0 && strict.MatchString(string(last)) {
			_, size = utf8.DecodeRuneInString(text[start:]) // in the middle of a garble
			from = start + size
			continue
		}
		out.WriteString(text[done:start])
		if part := text[start:end]; len(part) < len(text) && bad.MatchString(part) {
			out.WriteString(fixEncoding(part))
		} else {
			out.WriteString(part)
		}
		done, from = end, end
	}
}

// These expressions match bytes that are written as the characters of their numbers.
var (
	// spaced matches UTF-8 in which a byte A0 became a space, where that gives likely characters.
	spaced = regexp.MustCompile("[\u00c2\u00c3\u00c5\u00ce\u00d0\u00d9] " +
		"|[\u00e2\u00e3] [\u0080-\u0084\u0086-\u009f\u00a1-\u00bf]" +
		"|[\u00e0-\u00e3][\u0080-\u0084\u0086-\u009f\u00a1-\u00bf] " +
		"|\u00f0 [\u0080-\u00bf]{2}|\u00f0[\u0080-\u00bf] [\u0080-\u00bf]|\u00f0[\u0080-\u00bf]{2} ")

	// lossy matches UTF-8 or CESU-8 in which bytes were lost.
	lossy = regexp.MustCompile("[\u00c2-\u00df]\x1a|[\u00c2\u00c3]\\?" +
		"|\u00ed[\u00a0-\u00af][\x1a?]\u00ed[\u00b0-\u00bf][\x1a?\u0080-\u00bf]" +
		"|\u00ed[\u00a0-\u00af][\x1a?\u0080-\u00bf]\u00ed[\u00b0-\u00bf][\x1a?]" +
		"|[\u00e0-\u00ef][\x1a?][\x1a\u0080-\u00bf]|[\u00e0-\u00ef][\x1a\u0080-\u00bf][\x1a?]" +
		"|[\u00f0-\u00f4][\x1a?][\x1a\u0080-\u00bf]{2}" +
		"|[\u00f0-\u00f4][\x1a\u0080-\u00bf][\x1a?][\x1a\u0080-\u00bf]" +
		"|[\u00f0-\u00f4][\x1a\u0080-\u00bf]{2}[\x1a?]|\x1a")
)

// restoreA0 puts back the bytes A0 that became spaces. "Ã la mode" is "à la mode", with its space,
// except in Portuguese contractions.
func restoreA0(raw string) string {
	if !spaced.MatchString(raw) {
		return raw
	}
	const letter = "\u00c3 "
	var out strings.Builder
	for {
		before, after, found := strings.Cut(raw, letter)
		out.WriteString(before)
		if !found {
			break
		}
		out.WriteString("\u00c3")
		if !startsWithAny(after, " ", "quele", "quela", "quilo", "s ") {
			out.WriteString("\u00a0")
		}
		out.WriteString(" ")
		raw = after
	}
	return spaced.ReplaceAllStringFunc(out.String(), func(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") })
}

func startsWithAny(text string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(text, p) {
			return true
		}
	}
	return false
}
