package parquet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sort"
	"sync"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"tandem/core/fault"
)

// maxPage limits the bytes of a page of which one cell is read.
const maxPage = 1 << 30

// index knows where the pages of column chunks begin.
type index struct {
	mu     sync.Mutex
	chunks map[[2]int]*chunk // by row group and column
}

// chunk is the part of a column that lies in one row group.
type chunk struct {
	once  sync.Once
	err   error
	of    *lib.FileColumnChunk
	first []int64 // the first row of each page, from that of the row group
}

// Bytes returns the bytes in a cell of a leaf that is not repeated, or ok false when the cell is null. The pages that it
// decodes go into cache. The bytes are not to be changed.
func (f *File) Bytes(leaf Leaf, row int64, cache *Cache) (data []byte, ok bool, err error) {
	defer recovered(f.Name(), &err)
	if row < 0 || row >= f.Rows() {
		return nil, false, fault.New(fault.Invalid, "row %d of %d", row, f.Rows()).WithFile(f.Name(), 0, 0)
	}
	bad := func(err error) error {
		return broken(reasonRecord, f.Name(), "row %d, column %s: %w", row, leaf.Name(), err)
	}
	group := sort.Search(len(f.starts), func(i int) bool { return f.starts[i] > row }) - 1
	within := row - f.starts[group]
	c, err := f.chunk(group, leaf.column)
	if err != nil {
		return nil, false, bad(err)
	}
	n := sort.Search(len(c.first), func(i int) bool { return c.first[i] > within }) - 1
	if n < 0 {
		return nil, false, bad(errors.New("no page has it"))
	}
	p, err := cache.page(key{f, group, leaf.column, n}, func() (*page, error) { return f.readPage(c, c.first[n]) })
	if err != nil {
		return nil, false, bad(err)
	}
	if p == nil { // the page shares its values with others
		data, ok, err = f.readCell(c, within)
	} else {
		data, ok, err = p.cell(int(within - c.first[n]))
	}
	if err != nil {
		return nil, false, bad(err)
	}
	return data, ok, nil
}

// chunk returns a column chunk whose pages are known.
func (f *File) chunk(group, column int) (*chunk, error) {
	f.index.mu.Lock()
	c := f.index.chunks[[2]int{group, column}]
	if c == nil {
		c = &chunk{}
		if f.index.chunks == nil {
			f.index.chunks = map[[2]int]*chunk{}
		}
		f.index.chunks[[2]int{group, column}] = c
	}
	f.index.mu.Unlock()
	c.once.Do(func() { c.err = f.find(c, group, column) })
	return c, c.err
}

// find finds the pages of a chunk: by the index in the file or, in files without one, by the headers of the pages. The
// library seeks by the index alone, so it is given the one that was made.
func (f *File) find(c *chunk, group, column int) (err error) {
	defer recovered(f.Name(), &err)
	var ok bool
	if c.of, ok = f.file.RowGroups()[group].ColumnChunks()[column].(*lib.FileColumnChunk); !ok {
		return errors.New("no chunk of a file")
	}
	pages, err := c.of.OffsetIndexFrom(f.obj)
	if errors.Is(err, lib.ErrMissingOffsetIndex) {
		made, err := f.walk(group, column)
		if err != nil {
			return err
		}
		var protocol thrift.CompactProtocol
		data, err := thrift.Marshal(&protocol, made)
		if err != nil {
			return err
		}
		meta := &f.file.Metadata().RowGroups[group].Columns[column]
		meta.OffsetIndexOffset, meta.OffsetIndexLength = 1, int32(len(data))
		if pages, err = c.of.OffsetIndexFrom(io.NewSectionReader(bytes.NewReader(append([]byte{0}, data...)), 0, int64(len(data)+1))); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for i := range pages.NumPages() {
		c.first = append(c.first, pages.FirstRowIndex(i))
	}
	return nil
}

// walk reads the headers of a chunk's pages, each of which says where the next is.
func (f *File) walk(group, column int) (*format.OffsetIndex, error) {
	meta := &f.file.Metadata().RowGroups[group].Columns[column].MetaData
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	end := at + meta.TotalCompressedSize
	if at < 4 || end > f.obj.Size() || end < at {
		return nil, errors.New("its pages lie outside of the file")
	}
	out := &format.OffsetIndex{}
	var protocol thrift.CompactProtocol
	for row := int64(0); at < end && row < meta.NumValues; {
		section := io.NewSectionReader(f.obj, at, end-at)
		in := bufio.NewReaderSize(section, 512)
		var header format.PageHeader
		if err := thrift.NewDecoder(protocol.NewReader(in)).Decode(&header); err != nil {
			return nil, err
		}
		read, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		size := read - int64(in.Buffered()) + int64(header.CompressedPageSize)
		if header.CompressedPageSize < 0 || header.UncompressedPageSize > maxPage || at+size > end {
			return nil, errors.New("a page that is larger than its column")
		}
		values := int64(0)
		switch {
		case header.Type == format.DataPage && header.DataPageHeader.Valid:
			values = int64(header.DataPageHeader.V.NumValues)
		case header.Type == format.DataPageV2 && header.DataPageHeaderV2.Valid:
			values = int64(header.DataPageHeaderV2.V.NumRows)
		}
		if values > 0 {
			out.PageLocations = append(out.PageLocations, format.PageLocation{Offset: at, CompressedPageSize: int32(min(size, maxPage)), FirstRowIndex: row})
		} else if values < 0 {
			return nil, errors.New("a page of less than no values")
		}
		row, at = row+values, at+size
	}
	return out, nil
}

// readPage decodes a page whose first row is given. It returns nil when the page has a dictionary: then many of its values
// may be one.
func (f *File) readPage(c *chunk, first int64) (out *page, err error) {
	defer recovered(f.Name(), &err)
	pages := c.of.PagesFrom(f.obj)
	defer pages.Close()
	if err := pages.SeekToRow(first); err != nil {
		return nil, err
	}
	p, err := pages.ReadPage()
	if err != nil {
		return nil, err
	}
	defer lib.Release(p)
	if p.Dictionary() != nil {
		return nil, nil
	}
	out = &page{ends: make([]uint32, 0, p.NumValues()), null: make([]bool, 0, p.NumValues())}
	err = each(p, func(v lib.Value) bool {
		if !v.IsNull() {
			out.data = append(out.data, v.ByteArray()...)
		}
		out.ends, out.null = append(out.ends, uint32(len(out.data))), append(out.null, v.IsNull())
		return true
	})
	if len(out.data) > maxPage {
		return nil, errors.New("a page that is too large")
	}
	return out, err
}

// readCell decodes a page for one of its values.
func (f *File) readCell(c *chunk, row int64) (data []byte, ok bool, err error) {
	pages := c.of.PagesFrom(f.obj)
	defer pages.Close()
	if err := pages.SeekToRow(row); err != nil {
		return nil, false, err
	}
	p, err := pages.ReadPage()
	if err != nil {
		return nil, false, err
	}
	defer lib.Release(p)
	found := false
	err = each(p, func(v lib.Value) bool {
		found = true
		if !v.IsNull() {
			data, ok = bytes.Clone(v.ByteArray()), true
		}
		return false
	})
	if err == nil && !found {
		err = io.ErrUnexpectedEOF
	}
	return data, ok, err
}

// each calls do with the values of a page, until it returns false.
func each(p lib.Page, do func(lib.Value) bool) error {
	values := p.Values()
	var buf [64]lib.Value
	for {
		n, err := values.ReadValues(buf[:])
		for _, v := range buf[:n] {
			if !do(v) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
