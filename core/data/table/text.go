package table

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// text reads delimited text.
type text struct {
	in           *records
	comma        string
	at           []int // the places of the columns
	least, width int   // cells that a row must have, and those that the heading has
	rows         int
}

// openText reads the heading.
func openText(in *bufio.Reader, name string, o Options) (*text, error) {
	comma, before, err := skipPreamble(in, name, o)
	if err != nil {
		return nil, err
	}
	r := newRecords(in, comma, before)
	header, number, err := r.read()
	var bad *Refusal
	switch {
	case err == io.EOF:
		return nil, fault.New(fault.Corrupt, "empty table").WithFile(name, 1, 0)
	case errors.As(err, &bad):
		return nil, fault.New(fault.Corrupt, "heading: %w", err).WithFile(name, number, 0)
	case err != nil:
		return nil, files.Error(name, err)
	}
	header = slices.Clone(header)
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	at, err := find(o.Columns, header, name, number)
	if err != nil {
		return nil, err
	}
	t := &text{in: r, comma: comma, at: at, width: len(header)}
	if len(at) > 0 {
		t.least = slices.Max(at) + 1
	}
	r.width, r.image = len(header), -1
	if i := slices.IndexFunc(o.Columns, func(c Column) bool { return c.Picture }); i >= 0 {
		r.image = at[i]
	}
	return t, nil
}

func (t *text) next(ctx context.Context, row *Row) error {
	if t.rows++; t.rows%4096 == 0 && ctx.Err() != nil {
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
	cells, number, err := t.in.read()
	if row.Line = number; err != nil {
		return err
	}
	if len(cells) < t.least {
		return refuse("%d cells, want at least %d", len(cells), t.least)
	}
	for _, cell := range cells[min(t.width, len(cells)):] { // programs leave delimiters at the ends of lines
		if strings.TrimSpace(cell) != "" {
			return refuse("%d cells, the heading has %d: quote cells that hold a %s", len(cells), t.width, nameDelimiter(t.comma))
		}
	}
	for i, at := range t.at {
		row.Cells[i].add(cells[at])
	}
	return nil
}
