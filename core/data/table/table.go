// Package table reads the rows of tables of texts, by the names of their columns: delimited text in the dialect of pandas, JSON
// lines and lists, Parquet; the first two compressed or not. A row that cannot be used is told from a table that cannot.
package table

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

	"tandem/core/data/object"
	"tandem/core/data/parquet"
	"tandem/core/fault"
	"tandem/core/files"
)

// The formats. Auto goes by the ending of the name and, where that says nothing, by the content.
const (
	Auto    = "auto"
	CSV     = "csv"
	JSONL   = "jsonl" // an object on each line
	JSON    = "json"  // one list of objects
	Parquet = "parquet"
)

// Formats lists the formats that a table may be said to have.
var Formats = []string{Auto, CSV, JSONL, JSON, Parquet}

// maxText limits the bytes of one cell's text.
const maxText = 8 << 20

// Column names a column that is read.
type Column struct {
	Name string
	// Setting is the path of the setting that names it, for messages: "with.image_column".
	Setting string
	// Picture says that its cells are paths of pictures. They tell rows from text that a missing quote has swallowed.
	Picture bool
}

// Options says how a table is read.
type Options struct {
	Format    string // "" is Auto
	Delimiter string // of CSV: auto or "", the name of one (Delimiters), or the character itself
	Columns   []Column
}

// Row holds the cells of a row in the order of Options.Columns. It is good until the next one is read.
type Row struct {
	Line  int // where it begins, from 1: a line of text, or a number among the rows
	Cells []Cell
}

// Cell holds the texts of a cell, without the spaces around them: none when it is empty, several when it is a list.
type Cell []string

// Text returns the first text of a cell, or "".
func (c Cell) Text() string {
	if len(c) == 0 {
		return ""
	}
	return c[0]
}

// Refusal says what is wrong with one row. The others can be read.
type Refusal struct {
	Reason string // as in clip.Skip
	Msg    string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Msg }

// The reasons of refusals.
const (
	reasonRecord = "corrupt record"
	reasonUTF8   = "not UTF-8"
)

func refuse(format string, args ...any) error {
	return &Refusal{reasonRecord, fmt.Sprintf(format, args...)}
}

// Reader reads the rows of one table.
type Reader struct {
	Name   string // of the table
	Format string // CSV, JSONL, JSON or Parquet
	o      Options
	row    Row
	from   source
	close  []io.Closer
}

// source reads the next row into row, whose cells are empty. It returns io.EOF behind the last, a *Refusal of a row, or why
// the table cannot be read.
type source interface {
	next(ctx context.Context, row *Row) error
}

// Open opens a table. A column that is not there, or twice, yields fault.Invalid.
func Open(ctx context.Context, store *object.Store, name string, o Options) (*Reader, error) {
	obj, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &Reader{Name: name, o: o, close: []io.Closer{obj}, row: Row{Cells: make([]Cell, len(o.Columns))}}
	if err := r.open(obj); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) open(obj object.Object) error {
	if r.Format = r.o.Format; r.Format == "" || r.Format == Auto {
		r.Format = formatOf(r.Name, obj)
	}
	if r.Format == Parquet {
		f, err := parquet.Open(obj)
		if err != nil {
			return err
		}
		r.from, err = openParquet(f, r.o.Columns)
		return err
	}
	plain, closer, err := Decompress(r.Name, io.NewSectionReader(obj, 0, obj.Size()))
	if err != nil {
		return err
	}
	if closer != nil {
		r.close = append(r.close, closer)
	}
	in := bufio.NewReaderSize(plain, 1<<16)
	switch r.Format {
	case JSONL, JSON:
		r.from, err = openJSON(in, r.Name, r.Format == JSON, r.o.Columns)
	default:
		r.from, err = openText(in, r.Name, r.o)
	}
	return err
}

// Close closes the table.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range slices.Backward(r.close) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Next returns the next row. Its error is io.EOF behind the last row; a *Refusal, with Line set, of a row that cannot be
// used; or why the rest of the table cannot be read.
func (r *Reader) Next(ctx context.Context) (*Row, error) {
	for i := range r.row.Cells {
		r.row.Cells[i] = r.row.Cells[i][:0]
	}
	r.row.Line = 0
	if err := r.from.next(ctx, &r.row); err != nil {
		var bad *Refusal
		if err == io.EOF || errors.As(err, &bad) {
			return &r.row, err
		}
		var several fault.List
		if errors.As(err, &several) {
			return nil, err
		}
		return nil, files.Error(r.Name, err)
	}
	for i, c := range r.row.Cells {
		for _, text := range c {
			if !utf8.ValidString(text) {
				return &r.row, &Refusal{reasonUTF8, fmt.Sprintf("%q is not UTF-8", r.o.Columns[i].Name)}
			}
			if strings.IndexByte(text, 0) >= 0 {
				return &r.row, refuse("%q has a NUL byte", r.o.Columns[i].Name)
			}
			if len(text) > maxText {
				return &r.row, refuse("%q has %d bytes, of %d at most", r.o.Columns[i].Name, len(text), maxText)
			}
		}
	}
	return &r.row, nil
}

// add appends a text to a cell, unless it is blank.
func (c *Cell) add(text string) {
	if text = strings.TrimSpace(text); text != "" {
		*c = append(*c, text)
	}
}

// endings maps the endings of names to formats.
var endings = map[string]string{".csv": CSV, ".tsv": CSV, ".tab": CSV, ".psv": CSV, ".jsonl": JSONL, ".ndjson": JSONL, ".json": JSON, ".parquet": Parquet,
	".pq": Parquet}

// FormatOf returns the format that the ending of a name stands for, "" when it stands for none. A second ending says how
// the table is compressed.
func FormatOf(name string) string {
	name = strings.ToLower(name)
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	return endings[path.Ext(name)]
}

// formatOf returns the format of a table by its name, or else by its first bytes. A file that is called .json may hold
// a list or lines.
func formatOf(name string, obj object.Object) string {
	format := FormatOf(name)
	if format != "" && format != JSON {
		return format
	}
	plain, closer, err := Decompress(name, io.NewSectionReader(obj, 0, obj.Size()))
	if err != nil {
		return CSV // whose reader says what is wrong
	}
	if closer != nil {
		defer closer.Close()
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(plain, head)
	switch text := strings.TrimLeft(strings.TrimPrefix(string(head[:n]), utf8Mark), " \t\r\n"); {
	case strings.HasPrefix(text, "PAR1"):
		return Parquet
	case strings.HasPrefix(text, "{"):
		return JSONL
	case strings.HasPrefix(text, "[") && (format == JSON || strings.HasPrefix(strings.TrimLeft(text[1:], " \t\r\n"), "{")):
		return JSON
	}
	if format == JSON {
		return JSON
	}
	return CSV
}

// find returns the places of columns among names. Absent ones and ones that are there twice are faults.
func find(columns []Column, names []string, name string, line int) ([]int, error) {
	var faults fault.List
	at := make([]int, len(columns))
	for i, c := range columns {
		at[i] = slices.Index(names, c.Name)
		e := fault.New(fault.Invalid, "no column %q", c.Name).WithPath(c.Setting).WithFile(name, line, 0)
		switch {
		case at[i] < 0:
			near := ""
			if n := fault.Nearest(c.Name, names); n != "" {
				near = fmt.Sprintf(" (did you mean %s?)", n)
			}
			faults = append(faults, e.WithHint("the columns are %s%s", joinNames(names), near))
		case slices.Contains(names[at[i]+1:], c.Name):
			e.Msg = fmt.Sprintf("there are two columns %q", c.Name)
			faults = append(faults, e.WithHint("rename one of them in the first line of the table"))
		}
	}
	return at, faults.Err()
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
