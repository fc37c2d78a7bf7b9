package table

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/core/fault"
)

// objects reads JSON objects: one on each line, or those of one list.
type objects struct {
	name    string
	columns []Column
	seen    []bool // columns that some row has
	keys    map[string]json.RawMessage
	any     map[string]bool // names of the first rows, for messages

	lines  *records // of JSON lines
	list   *json.Decoder
	number int // rows so far
}

// maxNamed limits the rows whose names of columns are remembered for a message.
const maxNamed = 20

func openJSON(in *bufio.Reader, name string, list bool, columns []Column) (*objects, error) {
	if _, err := skipMark(in, name); err != nil {
		return nil, err
	}
	o := &objects{name: name, columns: columns, seen: make([]bool, len(columns)), keys: map[string]json.RawMessage{}, any: map[string]bool{}}
	if !list {
		o.lines = newRecords(in, "", 0)
		return o, nil
	}
	o.list = json.NewDecoder(in)
	if first, err := o.list.Token(); err == io.EOF {
		return nil, fault.New(fault.Corrupt, "empty table").WithFile(name, 1, 0)
	} else if err != nil {
		return nil, fault.New(fault.Corrupt, "no JSON: %w", err).WithFile(name, 1, 0)
	} else if first != json.Delim('[') {
		return nil, fault.New(fault.Corrupt, "begins with %v, want a list of objects", first).WithFile(name, 1, 0).
			WithHint(`pandas writes one with to_json(orient="records"), and an object on each line with lines=True`)
	}
	return o, nil
}

func (o *objects) next(ctx context.Context, row *Row) error {
	if o.number++; o.number%4096 == 0 && ctx.Err() != nil {
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
	clear(o.keys)
	raw, line, err := o.read()
	if row.Line = line; err == io.EOF {
		return o.end()
	} else if err != nil {
		return err
	}
	if !utf8.Valid(raw) {
		return &Refusal{reasonUTF8, "it is not UTF-8"}
	}
	if err := json.Unmarshal(raw, &o.keys); err != nil || o.keys == nil {
		o.keys = map[string]json.RawMessage{}
		return refuse("%s is no JSON object", excerpt(string(bytes.TrimSpace(raw))))
	}
	if len(o.any) == 0 || o.number < maxNamed {
		for k := range o.keys {
			o.any[k] = true
		}
	}
	for i, c := range o.columns {
		value, ok := o.keys[c.Name]
		if !ok {
			continue
		}
		o.seen[i] = true
		if err := texts(&row.Cells[i], value); err != nil {
			return refuse("%q is %s, want a text or a list of texts", c.Name, err)
		}
	}
	return nil
}

// read returns the bytes of the next object and the number of its line, or of the object in a list.
func (o *objects) read() (raw []byte, number int, err error) {
	if o.list != nil {
		if !o.list.More() {
			if _, err := o.list.Token(); err != nil { // the list is not closed
				return nil, o.number, fault.New(fault.Corrupt, "row %d: %w", o.number, unexpected(err)).WithFile(o.name, 0, 0).WithReason(reasonRecord)
			}
			return nil, o.number, io.EOF
		}
		var value json.RawMessage
		if err := o.list.Decode(&value); err != nil {
			return nil, o.number, fault.New(fault.Corrupt, "row %d: %w", o.number, unexpected(err)).WithFile(o.name, 0, 0).WithReason(reasonRecord)
		}
		return value, o.number, nil
	}
	for {
		l, err := o.lines.readLine()
		if err != nil {
			return nil, o.lines.next, err
		}
		number = o.lines.next
		o.lines.next++
		switch {
		case l.long:
			return nil, number, refuse("the line is longer than %d bytes", maxLine)
		case strings.TrimSpace(l.text) != "":
			return []byte(l.text), number, nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end returns io.EOF, or a fault when a column has not been in any row.
func (o *objects) end() error {
	if o.number <= 1 || len(o.any) == 0 {
		return io.EOF
	}
	var lacking []Column
	for i, c := range o.columns {
		if !o.seen[i] {
			lacking = append(lacking, c)
		}
	}
	if _, err := find(lacking, slices.Sorted(maps.Keys(o.any)), o.name, 0); err != nil {
		return err
	}
	return io.EOF
}

var errKind = errors.New("an object")

// texts appends the texts of a JSON value to a cell: a string, a number or a truth value is one, a list is several, null is
// none.
func texts(c *Cell, raw json.RawMessage) error {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		c.add(text)
	case 'n':
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for _, x := range list {
			if x[0] == '[' {
				return errors.New("a list of lists")
			}
			if err := texts(c, x); err != nil {
				return err
			}
		}
	case '{':
		return errKind
	default:
		c.add(string(raw))
	}
	return nil
}
