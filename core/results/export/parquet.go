// Package export writes the views of a results database as Parquet files, for pandas, polars, DuckDB and
// the like.
package export

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/store"
)

const (
	rowsPerGroup = 1 << 18 // what is held in memory
	rowsPerWrite = 256
)

// Options limit an export.
type Options struct {
	Experiment string // "": all
	// Progress, when not nil, is called now and then with the rows of a file so far.
	Progress func(file string, rows int64)
}

// File names a file that was written.
type File struct {
	Path  string `json:"path"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
}

// Parquet writes every stable view as NAME.parquet into the folder dir, which is made when it is not there; files
// of these names are replaced, each when its successor is whole. All files show the database at one moment.
// Rows are streamed: memory does not grow with their number. Times are timestamps in UTC, numbers that may be
// missing are nullable, and NaN is NaN. Errors: fault.NotFound (no such experiment), fault.Exhausted (disk
// full), fault.Unavailable (the folder cannot be written).
func Parquet(ctx context.Context, r *store.Reader, dir string, o Options) ([]File, error) {
	if o.Experiment != "" {
		if _, err := r.Experiment(ctx, o.Experiment); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fileFault(err)
	}
	s, err := r.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var files []File
	for _, v := range store.Views() {
		f, err := write(ctx, s, v, filepath.Join(dir, v.Name+".parquet"), o)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func write(ctx context.Context, s *store.Snapshot, v store.View, path string, o Options) (File, error) {
	file := File{Path: path}
	size, err := leftover.Replace(path, func(out *os.File) error {
		w := newTable(out, v)
		err := s.Each(ctx, v, o.Experiment, func(row []any) error {
			if o.Progress != nil && w.rows%100_000 == 0 {
				o.Progress(v.Name, w.rows)
			}
			return w.add(row)
		})
		file.Rows = w.rows
		if err != nil {
			return err
		}
		return w.close()
	})
	if err != nil {
		return File{}, fileFault(err)
	}
	file.Bytes = size
	return file, nil
}

// table writes rows of a view as Parquet.
type table struct {
	w       *parquet.GenericWriter[any]
	columns []store.ViewColumn
	pending []parquet.Row
	values  []parquet.Value // of pending
	rows    int64
	grouped int64 // rows since the last row group ended
}

func newTable(out io.Writer, v store.View) *table {
	return &table{
		columns: v.Columns,
		w: parquet.NewGenericWriter[any](out, parquet.NewSchema("v_"+v.Name, schema(v.Columns)),
			parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault})),
	}
}

// add takes one row; parquet copies it when the pending ones are written.
func (t *table) add(row []any) error {
	for i, v := range row {
		t.values = append(t.values, value(v).Level(0, level(v, t.columns[i]), i))
	}
	t.rows++
	if t.rows%rowsPerWrite == 0 {
		return t.flush()
	}
	return nil
}

func (t *table) flush() error {
	n := len(t.columns)
	t.pending = t.pending[:0]
	for at := 0; at < len(t.values); at += n {
		t.pending = append(t.pending, parquet.Row(t.values[at:at+n]))
	}
	if _, err := t.w.WriteRows(t.pending); err != nil {
		return err
	}
	t.values = t.values[:0]
	if t.grouped += int64(len(t.pending)); t.grouped >= rowsPerGroup {
		t.grouped = 0
		return t.w.Flush()
	}
	return nil
}

func (t *table) close() error {
	if err := t.flush(); err != nil {
		return err
	}
	return t.w.Close()
}

func level(v any, c store.ViewColumn) int {
	if c.Optional && v != nil {
		return 1
	}
	return 0
}

func value(v any) parquet.Value {
	switch v := v.(type) {
	case string:
		return parquet.ByteArrayValue([]byte(v))
	case int64:
		return parquet.Int64Value(v)
	case float64:
		return parquet.DoubleValue(v)
	case bool:
		return parquet.BooleanValue(v)
	case time.Time:
		return parquet.Int64Value(v.UnixMilli())
	}
	return parquet.NullValue()
}

// schema makes a group whose columns keep their order; parquet.Group sorts them by name.
func schema(columns []store.ViewColumn) parquet.Node {
	g := ordered{Group: parquet.Group{}}
	for _, c := range columns {
		n := node(c.Type)
		if c.Optional {
			n = parquet.Optional(n)
		}
		g.Group[c.Name] = n
		g.fields = append(g.fields, field{n, c.Name})
	}
	return g
}

func node(t store.Type) parquet.Node {
	switch t {
	case store.Int:
		return parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked)
	case store.Float:
		return parquet.Leaf(parquet.DoubleType)
	case store.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case store.Time:
		return parquet.Timestamp(parquet.Millisecond)
	}
	return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
}

type ordered struct {
	parquet.Group
	fields []parquet.Field
}

// Fields implements parquet.Node.
func (g ordered) Fields() []parquet.Field { return g.fields }

type field struct {
	parquet.Node
	name string
}

// Name implements parquet.Field.
func (f field) Name() string { return f.name }

// Value implements parquet.Field; rows are written as values, never as Go structs.
func (f field) Value(reflect.Value) reflect.Value { panic("export: not a struct") }

func fileFault(err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "export: %w", err).WithHint("free space, or name a folder on another disk")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.Unavailable, "export: %w", err).WithHint("name a folder that may be written")
	}
	return fault.New(fault.Internal, "export: %w", err)
}
