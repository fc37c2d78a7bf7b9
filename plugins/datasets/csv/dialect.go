package main

import (
	"bufio"
	"bytes"
	"strings"

	"tandem/core/fault"
)

// delimiters maps names to the characters between cells.
var delimiters = map[string]byte{"comma": ',', "tab": '\t', "semicolon": ';', "pipe": '|'}

// byteOrderMarks lists the marks of encodings that are not read. That of UTF-32 begins like one of UTF-16.
var byteOrderMarks = []struct{ mark, encoding string }{
	{"\xff\xfe\x00\x00", "utf-32"}, {"\x00\x00\xfe\xff", "utf-32"}, {"\xff\xfe", "utf-16"}, {"\xfe\xff", "utf-16"},
}

// skipPreamble passes over what may stand before the heading, a UTF-8 byte order mark and Excel's line "sep=;". It
// returns the delimiter and the number of lines that it passed over.
func (c Config) skipPreamble(in *bufio.Reader) (comma byte, lines int, err error) {
	head, _ := in.Peek(1 << 16) // a shorter table gives what it has
	for _, m := range byteOrderMarks {
		if bytes.HasPrefix(head, []byte(m.mark)) {
			return 0, 0, c.encodingFault(m.encoding)
		}
	}
	const utf8Mark = "\xef\xbb\xbf"
	if bytes.HasPrefix(head, []byte(utf8Mark)) {
		in.Discard(len(utf8Mark))
		head = head[len(utf8Mark):]
	}
	comma = delimiters[c.Delimiter]
	if line, _, _ := bytes.Cut(head, []byte("\n")); len(line) > 4 && bytes.EqualFold(line[:4], []byte("sep=")) {
		if rest := bytes.TrimRight(line[4:], "\r"); len(rest) == 1 {
			in.Discard(min(len(line)+1, len(head)))
			if comma == 0 {
				comma = rest[0]
			}
			head, lines = head[min(len(line)+1, len(head)):], 1
		}
	}
	// UTF-16 without a mark has a zero byte beside every letter of the heading.
	if bytes.Count(head[:min(len(head), 64)], []byte{0}) > 4 {
		return 0, 0, c.encodingFault("utf-16le")
	}
	if comma == 0 {
		comma = c.detectDelimiter(head)
	}
	return comma, lines, nil
}

func (c Config) encodingFault(in string) error {
	return fault.New(fault.Corrupt, "the table is in %s, want UTF-8", strings.ToUpper(in)).WithFile(c.File, 1, 0).
		WithHint("convert it: iconv -f %s -t utf-8 %s", in, c.File)
}

// detectDelimiter returns the delimiter with which the first line names most of the columns that are asked for. Among
// equals it takes the one with most cells, and comma when there is none.
func (c Config) detectDelimiter(head []byte) byte {
	best, most := byte(','), -1
	for _, comma := range []byte{',', '\t', ';', '|'} {
		t := newRecords(bufio.NewReader(bytes.NewReader(head)), comma, 0)
		names, _, err := t.read()
		if err != nil {
			continue
		}
		score := len(names)
		for _, want := range append([]string{c.ImageColumn, c.LabelColumn}, c.CaptionColumns...) {
			for _, name := range names {
				if want != "" && strings.TrimSpace(name) == want {
					score += 1 << 20
					break
				}
			}
		}
		if score > most {
			best, most = comma, score
		}
	}
	return best
}
