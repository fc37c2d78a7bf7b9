package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/files"
)

// row holds a usable record.
type row struct {
	image     string
	captions  []string // at least one
	negatives []string // texts that do not fit the picture
	label     string
	line      int // where the record starts, from 1
}

// key names the row's picture. Different spellings of one path give one key.
func (r row) key() string { return path.Clean(r.image) }

// table holds what was read of a table.
type table struct {
	rows     []row
	refused  int            // records that are not usable
	refusals []*fault.Error // the first of them
}

// count returns the number of records.
func (t *table) count() int { return len(t.rows) + t.refused }

// refuse counts a record that cannot be used. With on_error: fail it returns the error.
func (t *table) refuse(c Config, line int, why error) error {
	e := fault.New(fault.Corrupt, "%w", why).WithFile(c.File, line, 0)
	if c.Fail() {
		return e.WithHint("mend the row, or set on_error: skip")
	}
	t.refused++
	if len(t.refusals) < maxRefusals {
		t.refusals = append(t.refusals, e)
	}
	return nil
}

// read reads the table. With on_error: fail it returns the first refusal. A broken heading or a missing column
// is always an error.
func (c Config) read(ctx context.Context) (*table, error) {
	f, err := files.Open(c.File)
	if err != nil {
		var at *fault.Error
		if errors.As(err, &at) {
			at.Path = "with.file"
		}
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	comma, before, err := c.skipPreamble(in)
	if err != nil {
		return nil, err
	}
	r := newRecords(in, comma, before)
	header, number, err := r.read()
	var bad *refusal
	switch {
	case err == io.EOF:
		return nil, fault.New(fault.Corrupt, "empty table").WithFile(c.File, 1, 0)
	case errors.As(err, &bad):
		return nil, fault.New(fault.Corrupt, "heading: %w", err).WithFile(c.File, number, 0)
	case err != nil:
		return nil, files.Error(c.File, err)
	}
	columns, err := c.columns(header, number, comma)
	if err != nil {
		return nil, err
	}
	r.width, r.image = len(header), columns.image
	out := &table{}
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		cells, number, err := r.read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil && !errors.As(err, &bad) {
			return nil, files.Error(c.File, err)
		}
		var x row
		if err == nil {
			x, err = columns.row(cells)
			x.line = number
		}
		if err == nil {
			out.rows = append(out.rows, x)
		} else if err = out.refuse(c, number, err); err != nil {
			return nil, err
		}
	}
}

// columns holds positions in a record; label is -1 for none.
type columns struct {
	image, label int
	captions     []int
	negatives    []int
	least, width int    // cells that a record must have, and those that the heading has
	comma        string // the delimiter's name
}

// columns finds the columns that are asked for in the heading, which stands in a line.
func (c Config) columns(header []string, number int, comma byte) (columns, error) {
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	var faults fault.List
	find := func(key, name string) int {
		at := slices.Index(header, name)
		e := fault.New(fault.Invalid, "no column %q", name).WithPath("with."+key).WithFile(c.File, number, 0)
		switch {
		case at < 0:
			near := ""
			if n := fault.Nearest(name, header); n != "" {
				near = fmt.Sprintf(" (did you mean %s?)", n)
			}
			faults = append(faults, e.WithHint("the columns are %s%s", joinNames(header), near))
		case slices.Contains(header[at+1:], name):
			e.Msg = fmt.Sprintf("there are two columns %q", name)
			faults = append(faults, e.WithHint("rename one of them in the first line of the table"))
		}
		return at
	}
	out := columns{image: find("image_column", c.ImageColumn), label: -1, width: len(header)}
	for _, name := range c.CaptionColumns {
		out.captions = append(out.captions, find("caption_columns", name))
	}
	for _, name := range c.Negatives {
		out.negatives = append(out.negatives, find("negatives", name))
	}
	if c.LabelColumn != "" {
		out.label = find("label_column", c.LabelColumn)
	}
	out.least = max(out.image, out.label, slices.Max(slices.Concat(out.captions, out.negatives))) + 1
	for name, b := range delimiters {
		if b == comma {
			out.comma = name
		}
	}
	return out, faults.Err()
}

// joinNames lists the names of columns for a message.
func joinNames(names []string) string {
	const most = 20
	short := make([]string, 0, most+1)
	for _, n := range names[:min(most, len(names))] {
		if len(n) > 60 {
			n = strings.ToValidUTF8(n[:60], "") + "…"
		}
		short = append(short, n)
	}
	if len(names) > most {
		short = append(short, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(short, ", ")
}

// row picks the cells of a record. Its error says why the record is refused.
func (c columns) row(record []string) (row, error) {
	if len(record) < c.least {
		return row{}, refuse("%d cells, want at least %d", len(record), c.least)
	}
	for _, cell := range record[min(c.width, len(record)):] { // programs leave delimiters at the ends of lines
		if strings.TrimSpace(cell) != "" {
			return row{}, refuse("%d cells, the heading has %d: quote cells that hold a %s", len(record), c.width, c.comma)
		}
	}
	// Cells are cut out of their line, which would stay in memory with them.
	cell := func(at int) string { return strings.Clone(strings.TrimSpace(record[at])) }
	x := row{image: cell(c.image)}
	if c.label >= 0 {
		x.label = cell(c.label)
	}
	texts := func(list *[]string, columns []int, what string) error {
		for _, at := range columns {
			text := cell(at)
			if !utf8.ValidString(text) {
				return refuse("the %s is not UTF-8", what)
			}
			if text != "" && !slices.Contains(*list, text) {
				*list = append(*list, text)
			}
		}
		return nil
	}
	if err := texts(&x.captions, c.captions, "caption"); err != nil {
		return row{}, err
	}
	if err := texts(&x.negatives, c.negatives, "negative"); err != nil {
		return row{}, err
	}
	switch {
	case x.image == "":
		return row{}, refuse("no picture")
	case !utf8.ValidString(x.image):
		return row{}, refuse("the picture's path is not UTF-8")
	case !utf8.ValidString(x.label):
		return row{}, refuse("the label is not UTF-8")
	case isAddress(x.image):
		return row{}, refuse("the picture is an address, %s; download it first", excerpt(x.image))
	case len(x.captions) == 0:
		return row{}, refuse("no caption")
	}
	return x, nil
}

// isAddress reports whether a picture is named by a web address.
func isAddress(image string) bool {
	scheme, _, found := strings.Cut(image, "://")
	return found && slices.Contains([]string{"http", "https", "s3", "gs", "ftp", "hf"}, strings.ToLower(scheme))
}
