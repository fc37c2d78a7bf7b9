package parquet

import (
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
	of    *lib.FileColumnChunk
	first []int64 // the first row of each page, from that of the row group
	pages []int64 // where they begin in the file

	mu   sync.Mutex
	dict *dictionary // nil until it is needed
}

// dictionary returns the dictionary of the chunk, which open opens when it is needed first.
func (c *chunk) dictionary(open func() (*dictionary, error)) (*dictionary, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dict != nil {
		return c.dict, nil
	}
	d, err := open()
	if err == nil {
		c.dict = d
	}
	return d, err
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
	k := key{f, group, leaf.column, n}
	p, err := cache.page(k, func() (*page, error) { return f.readPage(c, n, leaf, group) })
	if err != nil {
		return nil, false, bad(err)
	}
	at := int(within - c.first[n])
	if p.ids == nil {
		if data, ok, err = p.cell(at); err != nil {
			return nil, false, bad(err)
		}
		return data, ok, nil
	}
	if at >= len(p.ids) {
		return nil, false, bad(io.ErrUnexpectedEOF)
	}
	if p.ids[at] < 0 {
		return nil, false, nil
	}
	d, err := c.dictionary(func() (*dictionary, error) { return f.openDictionary(group, leaf.column) })
	if err == nil {
		data, err = f.value(d, p.ids[at], cache, k)
	}
	if err != nil {
		return nil, false, bad(err)
	}
	return data, true, nil
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil { // an error may pass
		if err := f.find(c, group, column); err != nil {
			return nil, err
		}
	}
	return c, nil
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
	c.first, c.pages = make([]int64, 0, pages.NumPages()), nil
	for i := range pages.NumPages() {
		c.first, c.pages = append(c.first, pages.FirstRowIndex(i)), append(c.pages, pages.Offset(i))
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
	for row := int64(0); at < end && row < meta.NumValues; {
		header, data, err := f.header(at)
		if err != nil {
			return nil, err
		}
		size := data - at + int64(header.CompressedPageSize)
		if at+size > end {
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

// readPage decodes page n of a chunk.
func (f *File) readPage(c *chunk, n int, leaf Leaf, group int) (out *page, err error) {
	defer recovered(f.Name(), &err)
	h, data, err := f.header(c.pages[n])
	if err != nil {
		return nil, err
	}
	encoding := h.DataPageHeader.V.Encoding
	if h.Type == format.DataPageV2 {
		encoding = h.DataPageHeaderV2.V.Encoding
	}
	//lint:ignore SA1019 writers of version 1 name dictionaries so
	if encoding == format.PlainDictionary || encoding == format.RLEDictionary {
		return f.readIDs(h, data, leaf, f.file.Metadata().RowGroups[group].Columns[leaf.column].MetaData.Codec)
	}
	pages := c.of.PagesFrom(f.obj)
	defer pages.Close()
	if err := pages.SeekToRow(c.first[n]); err != nil {
		return nil, err
	}
	p, err := pages.ReadPage()
	if err != nil {
		return nil, err
	}
	defer lib.Release(p)
	out = &page{ends: make([]uint32, 0, p.NumValues()), null: make([]bool, 0, p.NumValues())}
	err = each(p, func(v lib.Value) {
		if !v.IsNull() {
			out.data = append(out.data, v.ByteArray()...)
		}
		out.ends, out.null = append(out.ends, uint32(len(out.data))), append(out.null, v.IsNull())
	})
	if len(out.data) > maxPage {
		return nil, errors.New("a page that is too large")
	}
	return out, err
}

// each calls do with the values of a page.
func each(p lib.Page, do func(lib.Value)) error {
	values := p.Values()
	var buf [64]lib.Value
	for {
		n, err := values.ReadValues(buf[:])
		for _, v := range buf[:n] {
			do(v)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
