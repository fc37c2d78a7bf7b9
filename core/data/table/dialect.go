package table

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
)

// delimiters maps names to the characters between cells.
var delimiters = map[string]string{"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|", "space": " "}

// CheckDelimiter reports a text that is no delimiter: neither auto, nor the name of one, nor one character.
func CheckDelimiter(text string) error {
	if text == "" || text == "auto" || delimiters[text] != "" {
		return nil
	}
	if r, n := utf8.DecodeRuneInString(text); n == len(text) && r != utf8.RuneError && !strings.ContainsRune("\"\n\r\x00", r) {
		return nil
	}
	return fault.New(fault.Invalid, "%q is no delimiter", text).WithHint("auto, comma, tab, semicolon, pipe, space, or one character")
}

// delimiter returns the character that a setting means; "" for auto.
func delimiter(text string) string {
	if d, ok := delimiters[text]; ok {
		return d
	}
	if text == "auto" {
		return ""
	}
	return text
}

// nameDelimiter returns the name of a delimiter for a message.
func nameDelimiter(d string) string {
	for name, text := range delimiters {
		if text == d {
			return name
		}
	}
	return d
}

const utf8Mark = "\xef\xbb\xbf"

// byteOrderMarks lists the marks of encodings that are not read. That of UTF-32 begins like one of UTF-16.
var byteOrderMarks = []struct{ mark, encoding string }{
	{"\xff\xfe\x00\x00", "utf-32"}, {"\x00\x00\xfe\xff", "utf-32"}, {"\xff\xfe", "utf-16"}, {"\xfe\xff", "utf-16"},
}

// skipMark passes over a UTF-8 byte order mark and returns what follows. Other encodings yield fault.Corrupt.
func skipMark(in *bufio.Reader, name string) (head []byte, err error) {
	head, _ = in.Peek(1 << 16) // a shorter table gives what it has
	bad := func(encoding string) error {
		return fault.New(fault.Corrupt, "the table is in %s, want UTF-8", strings.ToUpper(encoding)).WithFile(name, 1, 0).
			WithHint("convert it: iconv -f %s -t utf-8 %s", encoding, name)
	}
	for _, m := range byteOrderMarks {
		if bytes.HasPrefix(head, []byte(m.mark)) {
			return nil, bad(m.encoding)
		}
	}
	if bytes.HasPrefix(head, []byte(utf8Mark)) {
		in.Discard(len(utf8Mark))
		head = head[len(utf8Mark):]
	}
	if bytes.HasPrefix(head, []byte("PAR1")) {
		return nil, fault.New(fault.Corrupt, "this is a Parquet file, no text").WithFile(name, 0, 0).WithHint("set format: parquet")
	}
	// UTF-16 without a mark has a zero byte beside every letter of the heading.
	if bytes.Count(head[:min(len(head), 64)], []byte{0}) > 4 {
		return nil, bad("utf-16le")
	}
	return head, nil
}

// skipPreamble passes over what may stand before the heading, a UTF-8 byte order mark and Excel's line "sep=;". It
// returns the delimiter and the number of lines that it passed over.
func skipPreamble(in *bufio.Reader, name string, o Options) (comma string, lines int, err error) {
	head, err := skipMark(in, name)
	if err != nil {
		return "", 0, err
	}
	comma = delimiter(o.Delimiter)
	if line, _, _ := bytes.Cut(head, []byte("\n")); len(line) > 4 && bytes.EqualFold(line[:4], []byte("sep=")) {
		if rest := bytes.TrimRight(line[4:], "\r"); utf8.RuneCount(rest) == 1 {
			skip := min(len(line)+1, len(head))
			if comma == "" {
				comma = string(rest)
			}
			in.Discard(skip)
			head, lines = head[skip:], 1
		}
	}
	if comma == "" {
		comma = detectDelimiter(head, o.Columns)
	}
	return comma, lines, nil
}

// detectDelimiter returns the delimiter with which the first line names most of the columns that are asked for. Among
// equals it takes the one with most cells, and comma when there is none.
func detectDelimiter(head []byte, columns []Column) string {
	best, most := ",", -1
	for _, comma := range []string{",", "\t", ";", "|"} {
		t := newRecords(bufio.NewReader(bytes.NewReader(head)), comma, 0)
		names, _, err := t.read()
		if err != nil {
			continue
		}
		score := len(names)
		for _, want := range columns {
			if slices.ContainsFunc(names, func(n string) bool { return strings.TrimSpace(n) == want.Name }) {
				score += 1 << 20
			}
		}
		if score > most {
			best, most = comma, score
		}
	}
	return best
}
