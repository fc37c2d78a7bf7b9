package parquet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/bits"

	"github.com/klauspost/compress/snappy"
	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pyarrow puts the pictures of a whole row group into one dictionary page, of tens of megabytes. To decode it for each picture would
// take milliseconds: instead it is gone through once, and the place of each value is kept. Of a page that is not compressed, or
// by snappy, only what holds a value is read after that.

// smallPage says up to how many bytes a dictionary is kept decoded instead.
var smallPage int64 = 1 << 20

// fragment is how many bytes snappy compresses at a time: what follows refers to none before.
const fragment = 1 << 16

var (
	errDictionary = errors.New("a dictionary that contradicts itself")
	// errFragments says that a program other than Google's snappy compressed a page, in larger pieces.
	errFragments = errors.New("a snappy page whose fragments are not of 64 KiB")
)

// dictionary tells where the values of a chunk's dictionary are.
type dictionary struct {
	codec format.CompressionCodec
	at    int64   // the compressed page in the file
	size  int64   // its bytes there
	plain int64   // its bytes when it is decoded
	ends  []int64 // the end of each value in the decoded page, its length of 4 bytes included
	parts []int64 // of snappy: where the fragments begin in the compressed page, and its end; nil when they cannot be told apart
}

// header reads the header of the page at a place and returns where its bytes begin.
func (f *File) header(at int64) (h *format.PageHeader, data int64, err error) {
	section := io.NewSectionReader(f.obj, at, f.obj.Size()-at)
	in := bufio.NewReaderSize(section, 512)
	var protocol thrift.CompactProtocol
	h = &format.PageHeader{}
	if err := thrift.NewDecoder(protocol.NewReader(in)).Decode(h); err != nil {
		return nil, 0, err
	}
	read, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, 0, err
	}
	data = at + read - int64(in.Buffered())
	if h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPage || data+int64(h.CompressedPageSize) > f.obj.Size() {
		return nil, 0, errors.New("a page that is larger than its file")
	}
	return h, data, nil
}

// openDictionary goes through the dictionary of a chunk.
func (f *File) openDictionary(group, column int) (d *dictionary, err error) {
	defer recovered(f.Name(), &err)
	meta := &f.file.Metadata().RowGroups[group].Columns[column].MetaData
	at := meta.DataPageOffset
	if o := meta.DictionaryPageOffset; o > 0 && o < at {
		at = o
	}
	h, data, err := f.header(at)
	if err != nil {
		return nil, err
	}
	if h.Type != format.DictionaryPage {
		return nil, errors.New("no dictionary at the beginning")
	}
	d = &dictionary{codec: meta.Codec, at: data, size: int64(h.CompressedPageSize), plain: int64(h.UncompressedPageSize)}
	l := lengths{d: d}
	sum := crc32.NewIEEE()
	in := bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(f.obj, data, d.size), sum), 1<<16)
	switch d.codec {
	case format.Uncompressed:
		_, err = io.Copy(&l, in)
	case format.Snappy:
		err = d.walkSnappy(in, &l)
	}
	if d.codec != format.Uncompressed && (d.codec != format.Snappy || err == errFragments) {
		var whole []byte
		d.parts, d.ends = nil, nil
		l = lengths{d: d}
		if whole, err = f.wholeDictionary(d); err == nil {
			_, err = l.Write(whole)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := checkSum(h, sum, in); err != nil {
		return nil, err
	}
	if l.at != d.plain || l.have > 0 || l.left > 0 {
		return nil, errDictionary
	}
	return d, nil
}

// checkSum compares the checksum of a page with that in its header, when that has one. What in has not given yet counts.
func checkSum(h *format.PageHeader, sum hash.Hash32, in io.Reader) error {
	if h.CRC == 0 {
		return nil
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if got := sum.Sum32(); got != uint32(h.CRC) {
		return fmt.Errorf("a page whose checksum is %08x, want %08x", got, uint32(h.CRC))
	}
	return nil
}

// lengths finds the values in a decoded dictionary that is written to it: each has its length before it.
type lengths struct {
	d    *dictionary
	at   int64
	size [4]byte
	have int   // bytes of size
	left int64 // of the value
}

// Write implements io.Writer.
func (l *lengths) Write(p []byte) (int, error) {
	n := len(p)
	l.at += int64(n)
	for len(p) > 0 {
		if l.left > 0 {
			skip := min(l.left, int64(len(p)))
			p = p[skip:]
			if l.left -= skip; l.left == 0 {
				l.d.ends = append(l.d.ends, l.at-int64(len(p)))
			}
			continue
		}
		k := copy(l.size[l.have:], p)
		p = p[k:]
		if l.have += k; l.have < 4 {
			continue
		}
		l.have = 0
		if l.left = int64(binary.LittleEndian.Uint32(l.size[:])); l.left > l.d.plain {
			return 0, errDictionary
		}
		if l.left == 0 {
			l.d.ends = append(l.d.ends, l.at-int64(len(p)))
		}
	}
	return n, nil
}

// walkSnappy decodes a page fragment by fragment and notes where each begins.
func (d *dictionary) walkSnappy(in *bufio.Reader, out io.Writer) error {
	plain, err := binary.ReadUvarint(in)
	if err != nil || int64(plain) != d.plain {
		return errDictionary
	}
	var prefix [binary.MaxVarintLen64]byte
	at := int64(binary.PutUvarint(prefix[:], plain))
	var packed, decoded []byte
	for made := int64(0); made < d.plain; {
		d.parts = append(d.parts, at)
		want := min(fragment, d.plain-made)
		packed = packed[:0]
		got := int64(0)
		for got < want {
			n, took, err := element(in, &packed)
			if err != nil {
				return err
			}
			got, at = got+n, at+took
		}
		if got != want {
			return errFragments
		}
		if decoded, err = decodeFragment(decoded, packed, want); err != nil {
			return err
		}
		if _, err := out.Write(decoded); err != nil {
			return err
		}
		made += got
	}
	d.parts = append(d.parts, at)
	return nil
}

// element appends one element of snappy's format to packed, and returns how many bytes it makes and takes.
func element(in *bufio.Reader, packed *[]byte) (makes, takes int64, err error) {
	tag, err := in.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	*packed = append(*packed, tag)
	more := func(n int64) error {
		from := len(*packed)
		if n > maxPage {
			return errDictionary
		}
		*packed = append(*packed, make([]byte, n)...)
		_, err := io.ReadFull(in, (*packed)[from:])
		return err
	}
	x := int64(tag >> 2)
	switch tag & 3 {
	case 1:
		return 4 + x&7, 2, more(1)
	case 2:
		return 1 + x, 3, more(2)
	case 3:
		return 1 + x, 5, more(4)
	}
	takes = 1
	if x >= 60 {
		n := x - 59
		if err := more(n); err != nil {
			return 0, 0, err
		}
		var b [8]byte
		copy(b[:], (*packed)[int64(len(*packed))-n:])
		x, takes = int64(binary.LittleEndian.Uint64(b[:])), takes+n
	}
	return x + 1, takes + x + 1, more(x + 1)
}

// decodeFragment decodes the elements of one fragment.
func decodeFragment(into, packed []byte, size int64) ([]byte, error) {
	block := binary.AppendUvarint(make([]byte, 0, len(packed)+4), uint64(size))
	return snappy.Decode(into[:cap(into)], append(block, packed...))
}

// wholeDictionary decodes a dictionary.
func (f *File) wholeDictionary(d *dictionary) ([]byte, error) {
	packed := make([]byte, d.size)
	if n, err := f.obj.ReadAt(packed, d.at); n < len(packed) {
		return nil, err
	}
	plain, err := lib.LookupCompressionCodec(d.codec).Decode(make([]byte, d.plain), packed)
	if err == nil && int64(len(plain)) != d.plain {
		err = errDictionary
	}
	return plain, err
}

// value returns a value of a dictionary.
func (f *File) value(d *dictionary, id int32, cache *Cache, k key) ([]byte, error) {
	if id < 0 || int(id) >= len(d.ends) {
		return nil, fmt.Errorf("value %d of a dictionary of %d", id, len(d.ends))
	}
	from, end := int64(4), d.ends[id]
	if id > 0 {
		from += d.ends[id-1]
	}
	switch {
	case d.codec == format.Uncompressed:
		data := make([]byte, end-from)
		if n, err := f.obj.ReadAt(data, d.at+from); n < len(data) {
			return nil, err
		}
		return data, nil
	case d.parts == nil || d.plain <= smallPage:
		k.page = -1
		p, err := cache.page(k, func() (*page, error) {
			data, err := f.wholeDictionary(d)
			return &page{data: data}, err
		})
		if err != nil {
			return nil, err
		}
		return p.data[from:end:end], nil
	}
	if from == end {
		return []byte{}, nil
	}
	first, last := from/fragment, (end-1)/fragment
	packed := make([]byte, d.parts[last+1]-d.parts[first])
	if n, err := f.obj.ReadAt(packed, d.at+d.parts[first]); n < len(packed) {
		return nil, err
	}
	out := make([]byte, 0, (last-first+1)*fragment)
	for i := first; i <= last; i++ {
		part := packed[d.parts[i]-d.parts[first] : d.parts[i+1]-d.parts[first]]
		made, err := decodeFragment(nil, part, min(fragment, d.plain-i*fragment))
		if err != nil {
			return nil, err
		}
		out = append(out, made...)
	}
	return out[from-first*fragment:][:end-from], nil
}

// readIDs decodes a page of numbers of values: -1 for null.
func (f *File) readIDs(h *format.PageHeader, at int64, column Leaf, codec format.CompressionCodec) (out *page, err error) {
	packed := make([]byte, h.CompressedPageSize)
	if n, err := f.obj.ReadAt(packed, at); n < len(packed) {
		return nil, err
	}
	if sum := crc32.ChecksumIEEE(packed); h.CRC != 0 && sum != uint32(h.CRC) {
		return nil, fmt.Errorf("a page whose checksum is %08x, want %08x", sum, uint32(h.CRC))
	}
	plain := packed
	var levels []byte
	var n int
	decode := func(from []byte, size int) ([]byte, error) {
		if codec == format.Uncompressed {
			return from, nil
		}
		return lib.LookupCompressionCodec(codec).Decode(make([]byte, size), from)
	}
	if h.Type == format.DataPageV2 {
		v := &h.DataPageHeaderV2.V
		n = int(v.NumValues)
		rep, def := int(v.RepetitionLevelsByteLength), int(v.DefinitionLevelsByteLength)
		if rep < 0 || def < 0 || rep+def > len(packed) {
			return nil, io.ErrUnexpectedEOF
		}
		levels, plain = packed[rep:rep+def], packed[rep+def:]
		if packs, told := v.IsCompressed.Get(); packs || !told {
			if plain, err = decode(plain, max(0, int(h.UncompressedPageSize)-rep-def)); err != nil {
				return nil, err
			}
		}
	} else {
		n = int(h.DataPageHeader.V.NumValues)
		if plain, err = decode(plain, int(h.UncompressedPageSize)); err != nil {
			return nil, err
		}
		if column.definition > 0 {
			if len(plain) < 4 || int64(len(plain)-4) < int64(binary.LittleEndian.Uint32(plain)) {
				return nil, io.ErrUnexpectedEOF
			}
			size := binary.LittleEndian.Uint32(plain)
			levels, plain = plain[4:4+size], plain[4+size:]
		}
	}
	defined := make([]uint8, n)
	if column.definition > 0 {
		got, err := (&rle.Encoding{BitWidth: bits.Len8(column.definition)}).DecodeLevels(nil, levels)
		if err != nil || len(got) < n {
			return nil, fmt.Errorf("%d levels of %d values: %w", len(got), n, err)
		}
		defined = got[:n]
	}
	present := 0
	for _, l := range defined {
		if l == column.definition {
			present++
		}
	}
	ids := make([]int32, present)
	if present > 0 && (len(plain) == 0 || plain[0] > 32) {
		return nil, io.ErrUnexpectedEOF
	}
	if present > 0 && plain[0] > 0 {
		got, err := (&rle.Encoding{BitWidth: int(plain[0])}).DecodeInt32(nil, plain[1:])
		if err != nil || len(got) < present {
			return nil, fmt.Errorf("%d numbers of %d values: %w", len(got), present, err)
		}
		ids = got
	}
	out = &page{ids: make([]int32, n)}
	next := 0
	for i, l := range defined {
		out.ids[i] = -1
		if l == column.definition {
			out.ids[i] = ids[next]
			next++
		}
	}
	return out, nil
}
