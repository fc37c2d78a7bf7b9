package report

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"strings"

	"tandem/core/fault"
)

// A RowWriter writes rows as they come, as Rows does those that it is given: the memory that it takes does not grow
// with their number. Text is written in portions: the widths, the alignment and the form of the first portion hold for
// those that follow, whose longer cells stand out.
type RowWriter struct {
	add   func(row []any) error
	close func() error
}

// NewRowWriter begins to write rows of columns; Close ends it.
func NewRowWriter(w io.Writer, format Format, columns []string) (*RowWriter, error) {
	switch format {
	case JSON:
		return jsonRows(w, columns), nil
	case CSV:
		return csvRows(w, columns)
	case Text, "":
		return textRows(w, columns), nil
	}
	return nil, fault.New(fault.Invalid, "unknown output format %q", format).WithHint("text, json or csv")
}

// Add writes a row, one value per column, or keeps its text for the next portion. The row is not kept.
func (w *RowWriter) Add(row []any) error { return w.add(row) }

// Close writes what is left.
func (w *RowWriter) Close() error { return w.close() }

func jsonRows(w io.Writer, columns []string) *RowWriter {
	list := jsonList{w: bufio.NewWriter(w)}
	keys := make([]string, len(columns))
	for j, name := range columns {
		keys[j], _ = encode(name)
	}
	return &RowWriter{close: list.close, add: func(row []any) error {
		var b strings.Builder
		b.WriteString("{")
		for j, name := range columns {
			if j > 0 {
				b.WriteString(", ")
			}
			value, err := encode(plain(row[j]))
			if err != nil {
				return fault.New(fault.Internal, "column %s: %w", name, err)
			}
			b.WriteString(keys[j] + ": " + value)
		}
		b.WriteString("}")
		return list.add(b.String())
	}}
}

// A jsonList writes texts of JSON as the elements of an array, one a line.
type jsonList struct {
	w     *bufio.Writer
	begun bool
}

func (l *jsonList) add(text string) error {
	head := ",\n  "
	if !l.begun {
		head, l.begun = "[\n  ", true
	}
	_, err := l.w.WriteString(head + text)
	return err
}

// value adds a value as Value indents it.
func (l *jsonList) value(v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetIndent("  ", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return l.add(escapedJSON(strings.TrimSuffix(b.String(), "\n")))
}

func (l *jsonList) close() error {
	tail := "\n]\n"
	if !l.begun {
		tail = "[]\n"
	}
	if _, err := l.w.WriteString(tail); err != nil {
		return err
	}
	return l.w.Flush()
}

func csvRows(w io.Writer, columns []string) (*RowWriter, error) {
	out := csv.NewWriter(w)
	if err := out.Write(columns); err != nil {
		return nil, err
	}
	fields := make([]string, len(columns))
	return &RowWriter{
		add: func(row []any) error {
			for j := range columns {
				fields[j] = csvField(plain(row[j]))
			}
			return out.Write(fields)
		},
		close: func() error {
			out.Flush()
			return out.Error()
		}}, nil
}

func textRows(w io.Writer, columns []string) *RowWriter {
	t := newTextTable(w, columns, nil)
	t.right = make([]bool, len(columns))
	for j := range t.right {
		t.right[j] = true
	}
	t.layout = func() {
		if len(t.cells) == 0 {
			clear(t.right)
		}
		_, fits := columnWidths(t.columns, t.cells, t.width)
		t.records = !fits
	}
	return &RowWriter{close: t.close, add: func(row []any) error {
		cells := make([]string, len(columns))
		for j := range columns {
			v := plain(row[j])
			switch v.(type) {
			case nil, int64, uint64, float64:
			default:
				t.right[j] = t.right[j] && t.written > 0
			}
			cells[j] = cell(v)
		}
		return t.add(cells)
	}}
}

// A portion of a table is written once it has so many rows or its cells so many bytes.
const (
	portionRows  = 10_000
	portionBytes = 16 << 20
)

// A textTable writes rows of text in portions, without what a terminal would obey. layout, called with the first portion in cells, settles how all are
// written.
type textTable struct {
	w       io.Writer
	columns []string
	right   []bool // columns that stand to the right
	width   int    // of the terminal; 0: lines are as long as they need to be
	bold    bool
	records bool // a column a line
	layout  func()
	keep    []int // the columns that layout left; nil: all

	cells   [][]string
	bytes   int
	written int   // rows
	least   []int // widths of the columns in the first portion
}

func newTextTable(w io.Writer, columns []string, right []bool) *textTable {
	terminal, width := Terminal(w)
	return &textTable{w: w, columns: printable(columns), right: right, width: width, bold: terminal && os.Getenv("NO_COLOR") == "", layout: func() {}}
}

func (t *textTable) add(cells []string) error {
	cells = printable(cells)
	t.cells = append(t.cells, cells)
	for _, c := range cells {
		t.bytes += len(c)
	}
	if len(t.cells) < portionRows && t.bytes < portionBytes {
		return nil
	}
	return t.flush(false)
}

func (t *textTable) close() error {
	if t.written > 0 && len(t.cells) == 0 {
		return nil
	}
	return t.flush(true)
}

func (t *textTable) flush(last bool) (err error) {
	first := t.written == 0
	if first {
		t.layout()
	} else if t.keep != nil {
		for i, row := range t.cells {
			kept := make([]string, len(t.keep))
			for j, from := range t.keep {
				kept[j] = row[from]
			}
			t.cells[i] = kept
		}
	}
	switch {
	case t.records:
		total := 0
		if last {
			total = t.written + len(t.cells)
		}
		err = writeRecords(t.w, t.columns, t.cells, t.written, total)
	case first:
		t.least, err = aligned(t.w, t.columns, t.cells, t.right, t.width, t.bold)
	default:
		err = alignedBelow(t.w, t.cells, t.right, t.least, t.width)
	}
	t.written += len(t.cells)
	t.cells, t.bytes = nil, 0
	return err
}
