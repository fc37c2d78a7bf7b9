package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/sdk/sample"
)

// row is a usable record.
type row struct {
	image    string
	captions []string // at least one
	label    string
	line     int // where the record starts, from 1
}

// read gives the usable records of the table and the reasons for refusing others. With on_error: fail
// the first refusal is the error. A broken header or a column that is not there always is one.
func (c Config) read(ctx context.Context) (rows []row, refused fault.List, err error) {
	f, err := os.Open(c.File)
	if err != nil {
		e := sample.FileError(c.File, err)
		var at *fault.Error
		if errors.As(e, &at) {
			at.Path = "with.file"
		}
		return nil, nil, e
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	r, err := c.reader(in)
	if err != nil {
		return nil, nil, err
	}
	header, err := r.Read()
	if err == io.EOF {
		return nil, nil, fault.New(fault.Corrupt, "empty table").WithFile(c.File, 1, 0)
	} else if err != nil {
		return nil, nil, fault.New(fault.Corrupt, "header: %w", reason(err)).WithFile(c.File, 1, 0)
	}
	columns, err := c.columns(header)
	if err != nil {
		return nil, nil, err
	}
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		record, err := r.Read()
		if err == io.EOF {
			return rows, refused, nil
		}
		var parse *csv.ParseError
		if err != nil && !errors.As(err, &parse) {
			return nil, nil, sample.FileError(c.File, err)
		}
		var x row
		line := 0
		if err == nil {
			line, _ = r.FieldPos(0)
			x, err = columns.row(record)
			x.line = line
		} else {
			line = parse.StartLine
		}
		if err == nil {
			rows = append(rows, x)
			continue
		}
		e := fault.New(fault.Corrupt, "%w", reason(err)).WithFile(c.File, line, 0)
		if c.Fail() {
			return nil, nil, e.WithHint("mend the row, or set on_error: skip")
		}
		refused = append(refused, e)
	}
}

// reason is a parse error without its position, which is told separately.
func reason(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}

// reader is a CSV reader behind the byte order mark, with the delimiter found.
func (c Config) reader(in *bufio.Reader) (*csv.Reader, error) {
	switch mark, _ := in.Peek(3); {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		in.Discard(3)
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return nil, fault.New(fault.Corrupt, "the table is in UTF-16").WithFile(c.File, 1, 0).
			WithHint("convert it: iconv -f utf-16 -t utf-8 %s", c.File)
	}
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1 // ragged rows are judged one by one
	r.Comma = map[string]rune{"comma": ',', "tab": '\t', "semicolon": ';', "pipe": '|'}[c.Delimiter]
	if r.Comma == 0 {
		r.Comma = detect(in)
	}
	// Tables with tabs are mostly written without quoting: a quote inside a cell is only a quote.
	r.LazyQuotes = r.Comma == '\t'
	return r, nil
}

// detect takes the delimiter that the first line has most of outside quotes; comma when there is none.
func detect(in *bufio.Reader) rune {
	head, _ := in.Peek(1 << 16)
	counts, quoted := map[byte]int{}, false
	for _, b := range head {
		if b == '"' {
			quoted = !quoted
		} else if b == '\n' && !quoted {
			break
		} else if !quoted {
			counts[b]++
		}
	}
	best := byte(',')
	for _, b := range []byte{'\t', ';', '|'} {
		if counts[b] > counts[best] {
			best = b
		}
	}
	return rune(best)
}

// columns are positions in a record; label is -1 for none.
type columns struct {
	image, label int
	captions     []int
	width        int // fields that a record must have at least
}

func (c Config) columns(header []string) (columns, error) {
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	var faults fault.List
	find := func(key, name string) int {
		at := slices.Index(header, name)
		if at < 0 {
			e := fault.New(fault.Invalid, "no column %q", name).WithPath("with."+key).WithFile(c.File, 1, 0)
			faults = append(faults, e.WithHint("the columns are %s", strings.Join(header, ", ")))
		}
		return at
	}
	out := columns{image: find("image_column", c.ImageColumn), label: -1}
	for _, name := range c.CaptionColumns {
		out.captions = append(out.captions, find("caption_columns", name))
	}
	if c.LabelColumn != "" {
		out.label = find("label_column", c.LabelColumn)
	}
	out.width = max(out.image, out.label, slices.Max(out.captions)) + 1
	return out, faults.Err()
}

// row picks the cells of a record; the error says why it is refused.
func (c columns) row(record []string) (row, error) {
	if len(record) < c.width {
		return row{}, fault.New(fault.Corrupt, "%d cells, want at least %d", len(record), c.width)
	}
	x := row{image: strings.TrimSpace(record[c.image])}
	if c.label >= 0 {
		x.label = strings.TrimSpace(record[c.label])
	}
	for _, at := range c.captions {
		text := strings.TrimSpace(record[at])
		if !utf8.ValidString(text) {
			return row{}, fault.New(fault.Corrupt, "caption is not UTF-8")
		}
		if text != "" && !slices.Contains(x.captions, text) {
			x.captions = append(x.captions, text)
		}
	}
	switch {
	case x.image == "":
		return row{}, fault.New(fault.Corrupt, "no picture")
	case strings.HasPrefix(x.image, "http://"), strings.HasPrefix(x.image, "https://"):
		return row{}, fault.New(fault.Unavailable, "the picture is a web address; download it first")
	case len(x.captions) == 0:
		return row{}, fault.New(fault.Corrupt, "no caption")
	}
	return x, nil
}
