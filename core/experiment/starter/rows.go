package starter

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"tandem/core/data/object"
	"tandem/core/data/parquet"
	"tandem/core/data/table"
)

// rowReader reads the rows of a table, the names of its columns first. The cells of a row may be those of the next one's
// memory.
type rowReader interface {
	Read() ([]string, error)
}

// rowsOf returns a reader of a table's rows, and what is to be closed behind it.
func rowsOf(ctx context.Context, f *os.File, path string) (rowReader, func(), error) {
	switch table.FormatOf(path) {
	case table.JSONL:
		return &objectRows{in: bufio.NewReaderSize(f, 1<<16)}, func() {}, nil
	case table.Parquet:
		store, err := object.New(ctx, object.Options{})
		if err != nil {
			return nil, nil, err
		}
		obj, err := store.Open(ctx, path)
		if err != nil {
			store.Close()
			return nil, nil, err
		}
		end := func() { obj.Close(); store.Close() }
		p, err := parquet.Open(obj)
		if err != nil {
			end()
			return nil, nil, err
		}
		r := &columnRows{}
		var leaves []parquet.Leaf
		for _, name := range p.Columns() {
			if leaf, err := p.Texts(name); err == nil {
				r.head, leaves = append(r.head, name), append(leaves, leaf)
			}
		}
		r.scan, r.cells = p.Scan(leaves), make([][]string, len(leaves))
		return r, func() { r.scan.Close(); end() }, nil
	}
	rows, err := reader(f)
	return rows, func() {}, err
}

// objectRows reads the rows of JSON lines. Its columns are those of the first rows.
type objectRows struct {
	in    *bufio.Reader
	head  []string
	ahead []map[string]json.RawMessage
}

func (r *objectRows) Read() ([]string, error) {
	if r.head == nil {
		for len(r.ahead) < lookedAt {
			row, err := r.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				continue
			}
			r.ahead = append(r.ahead, row)
			for name := range row {
				if !slices.Contains(r.head, name) {
					r.head = append(r.head, name)
				}
			}
		}
		if r.head == nil {
			return nil, io.EOF
		}
		slices.Sort(r.head)
		return r.head, nil
	}
	var row map[string]json.RawMessage
	if len(r.ahead) > 0 {
		row, r.ahead = r.ahead[0], r.ahead[1:]
	} else {
		var err error
		if row, err = r.next(); err != nil {
			return nil, err
		}
	}
	cells := make([]string, len(r.head))
	for i, name := range r.head {
		cells[i] = textOf(row[name])
	}
	return cells, nil
}

// next returns the next line that is not blank.
func (r *objectRows) next() (map[string]json.RawMessage, error) {
	for {
		line, err := r.in.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) == 0 {
			if err != nil {
				return nil, io.EOF
			}
			continue
		}
		var row map[string]json.RawMessage
		return row, json.Unmarshal(line, &row)
	}
}

// textOf returns a text, the first of a list, or how another value is written.
func textOf(raw json.RawMessage) string {
	var text string
	var list []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &list) == nil:
		return strings.Join(list[:min(1, len(list))], "")
	}
	return string(raw)
}

// columnRows reads the rows of a Parquet file.
type columnRows struct {
	scan  *parquet.Scan
	head  []string
	begun bool
	cells [][]string
}

func (r *columnRows) Read() ([]string, error) {
	if !r.begun {
		r.begun = true
		return r.head, nil
	}
	for i := range r.cells {
		r.cells[i] = r.cells[i][:0]
	}
	if err := r.scan.Next(r.cells); err != nil {
		return nil, io.EOF // the dataset plugin says what is wrong
	}
	out := make([]string, len(r.cells))
	for i, c := range r.cells {
		if len(c) > 0 {
			out[i] = c[0]
		}
	}
	return out, nil
}
