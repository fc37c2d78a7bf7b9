// Package parquet reads Parquet files by row: a few columns from the first row to the last, or the bytes of one cell. It holds
// little of a file in memory, and a file that contradicts itself yields fault.Corrupt.
package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// maxFooter limits the bytes of a file's description of itself, which is held in memory.
const maxFooter = 1 << 30

// reasonRecord names what is refused for the content of a file.
const reasonRecord = "corrupt record"

// File is an open Parquet file. Its methods may be called from several goroutines.
type File struct {
	obj    object.Object
	file   *lib.File
	starts []int64 // the first row of each row group, and the number of all rows
	leaves []Leaf
	index  index
}

// Leaf is a column of values: a column of the table, or a part of one that is a list or a structure.
type Leaf struct {
	Path []string // "captions", "list", "element"
	// Bytes says that its values are texts or bytes.
	Bytes bool
	// Text says that its bytes are texts.
	Text bool
	// Repeated says that a row may have several values.
	Repeated bool

	column     int
	definition uint8 // the level of values that are there
}

// Name returns the path of a leaf with dots.
func (l Leaf) Name() string { return strings.Join(l.Path, ".") }

// Open reads what a file says of itself. The file is closed by whoever opened obj.
func Open(obj object.Object) (f *File, err error) {
	defer recovered(obj.Name(), &err)
	bad := func(format string, args ...any) error {
		return broken("corrupt shard", obj.Name(), format, args...)
	}
	var tail [8]byte
	if obj.Size() < 12 {
		return nil, bad("%d bytes are no Parquet file", obj.Size())
	}
	if n, err := obj.ReadAt(tail[:], obj.Size()-8); n < len(tail) {
		return nil, bad("%w", err)
	}
	if string(tail[4:]) == "PARE" {
		return nil, fault.New(fault.Invalid, "the file is encrypted").WithFile(obj.Name(), 0, 0)
	}
	if string(tail[4:]) != "PAR1" {
		return nil, bad("the file does not end as a Parquet file does: it is none, or is cut off")
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); n > obj.Size()-12 || n > maxFooter {
		return nil, bad("a footer of %d bytes in a file of %d", n, obj.Size())
	}
	file, err := lib.OpenFile(obj, obj.Size(), lib.SkipPageIndex(true), lib.SkipBloomFilters(true), lib.ReadBufferSize(1<<16))
	if err != nil {
		return nil, bad("%w", err)
	}
	f = &File{obj: obj, file: file, starts: []int64{0}}
	groups := file.Metadata().RowGroups
	if len(groups) > math.MaxInt16 {
		return nil, fault.New(fault.Invalid, "%d row groups, of %d at most", len(groups), math.MaxInt16).WithFile(obj.Name(), 0, 0)
	}
	for i := range groups {
		groups[i].Ordinal = int16(i) // not every program writes it, and pages are found by it
		if groups[i].NumRows < 0 {
			return nil, bad("row group %d has %d rows", i, groups[i].NumRows)
		}
		f.starts = append(f.starts, f.starts[i]+groups[i].NumRows)
	}
	for _, path := range file.Schema().Columns() {
		leaf, ok := file.Schema().Lookup(path...)
		if !ok {
			return nil, bad("the column %s is not in the schema", strings.Join(path, "."))
		}
		kind := leaf.Node.Type().Kind()
		converted := leaf.Node.Type().ConvertedType()
		text := converted != nil && *converted == deprecated.UTF8
		if logical := leaf.Node.Type().LogicalType(); logical != nil {
			_, is := logical.Value.(*format.StringType)
			text = text || is
		}
		f.leaves = append(f.leaves, Leaf{Path: path, Bytes: kind == lib.ByteArray || kind == lib.FixedLenByteArray,
			Text: text, Repeated: leaf.MaxRepetitionLevel > 0, column: leaf.ColumnIndex, definition: uint8(leaf.MaxDefinitionLevel)})
	}
	return f, nil
}

// recovered turns a panic into fault.Corrupt: the library trusts some of what it reads.
func recovered(name string, err *error) {
	if p := recover(); p != nil {
		*err = fault.New(fault.Corrupt, "the file contradicts itself: %v", p).WithFile(name, 0, 0).WithReason(reasonRecord)
	}
}

// broken returns fault.Corrupt with a reason, or what a store said when it is the store that does not give the bytes.
func broken(reason, name, format string, args ...any) error {
	for _, a := range args {
		var e *fault.Error
		if err, ok := a.(error); ok && errors.As(err, &e) {
			return e
		}
	}
	return fault.New(fault.Corrupt, format, args...).WithFile(name, 0, 0).WithReason(reason)
}

// Name returns the name of the file.
func (f *File) Name() string { return f.obj.Name() }

// Rows returns the number of rows.
func (f *File) Rows() int64 { return f.starts[len(f.starts)-1] }

// Groups returns the number of rows of each row group.
func (f *File) Groups() []int64 {
	out := make([]int64, len(f.starts)-1)
	for i := range out {
		out[i] = f.starts[i+1] - f.starts[i]
	}
	return out
}

// Nulls returns how many cells of a leaf are null in a row group, as the file says; 0 where it does not say.
func (f *File) Nulls(leaf Leaf, group int) int64 {
	return f.file.Metadata().RowGroups[group].Columns[leaf.column].MetaData.Statistics.NullCount
}

// Metadata returns what programs wrote under a key: Hugging Face's datasets writes "huggingface".
func (f *File) Metadata(key string) (string, bool) { return f.file.Lookup(key) }

// Columns returns the names of the columns.
func (f *File) Columns() []string {
	var out []string
	for _, l := range f.leaves {
		if len(out) == 0 || out[len(out)-1] != l.Path[0] {
			out = append(out, l.Path[0])
		}
	}
	return out
}

// Under returns the leaves of a column.
func (f *File) Under(column string) []Leaf {
	var out []Leaf
	for _, l := range f.leaves {
		if l.Path[0] == column {
			out = append(out, l)
		}
	}
	return out
}

// fields lists the names of the field that holds the text in a column of structures, in the order of preference: "raw" in
// datasets with sentences (Karpathy's COCO and Flickr).
var fields = []string{"raw", "caption", "text"}

// Texts returns the leaf with the texts of a column: a column of texts, numbers or truth values, of lists of them, or of
// structures with one such field. "sentences.raw" names a field of a structure.
func (f *File) Texts(column string) (Leaf, error) {
	name, field := column, ""
	leaves := f.Under(name)
	if dot := strings.LastIndexByte(column, '.'); len(leaves) == 0 && dot > 0 {
		name, field = column[:dot], column[dot+1:]
		leaves = f.Under(name)
	}
	if len(leaves) == 0 {
		hint := "the columns are " + strings.Join(f.Columns(), ", ")
		if near := fault.Nearest(column, f.Columns()); near != "" {
			hint += fmt.Sprintf(" (did you mean %s?)", near)
		}
		return Leaf{}, fault.New(fault.Invalid, "no column %q", column).WithFile(f.Name(), 0, 0).WithHint("%s", hint)
	}
	if field == "" && len(leaves) == 1 {
		return leaves[0], nil
	}
	wanted := fields
	if field != "" {
		wanted = []string{field}
	}
	for _, want := range wanted {
		if i := slices.IndexFunc(leaves, func(l Leaf) bool { return l.Path[len(l.Path)-1] == want }); i >= 0 {
			return leaves[i], nil
		}
	}
	var have []string
	for _, l := range leaves {
		have = append(have, l.Path[len(l.Path)-1])
	}
	if field != "" {
		return Leaf{}, fault.New(fault.Invalid, "the column %q has no field %q", name, field).WithFile(f.Name(), 0, 0).
			WithHint("its fields are %s", strings.Join(have, ", "))
	}
	return Leaf{}, fault.New(fault.Invalid, "the column %q is a structure", column).WithFile(f.Name(), 0, 0).
		WithHint("name one of its fields: %s.%s", column, strings.Join(have, ", "+column+"."))
}
