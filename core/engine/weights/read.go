package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/files"
)

// maxHeader limits the header in bytes, as the reference implementation does.
const maxHeader = 100_000_000

// Info holds what a file says of a tensor.
type Info struct {
	Name       string
	DType      DType
	Shape      []int
	begin, end int64 // within the data section
}

// Bytes returns the size of the tensor's data.
func (i Info) Bytes() int { return int(i.end - i.begin) }

// A File reads an open safetensors file. It reads tensors when asked for; reads may be concurrent.
type File struct {
	path     string
	r        io.ReaderAt
	closer   io.Closer
	data     int64 // offset of the data section
	infos    map[string]Info
	metadata map[string]string
}

// maxTensors and maxAxes bound what a header may make the reader keep: published models have thousands of tensors with a
// few axes.
const (
	maxTensors = 1 << 17
	maxAxes    = 32
)

// Open reads and checks the header of a file. A missing file is fault.NotFound; a file of another format,
// as far as it is recognised, a pipe or a device is fault.Invalid with the remedy; a header that is too
// long, not JSON, repeats a name, or whose tensors overlap, leave holes or reach outside the file
// is fault.Corrupt.
func Open(path string) (*File, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	stat, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, ioFault(err, path)
	}
	f, err := Decode(file, stat.Size())
	if fault.KindOf(err) == fault.Corrupt {
		if other := recognise(file, stat.Size(), path); other != nil {
			err = other
		}
	}
	if err != nil {
		file.Close()
		return nil, ioFault(err, path)
	}
	f.path, f.closer = path, file
	return f, nil
}

// Decode does what Open does, for size bytes of any reader, which must stay usable as long as the File is.
func Decode(r io.ReaderAt, size int64) (*File, error) {
	var prefix [8]byte
	if size < 8 {
		return nil, corrupt("%d bytes are too few for a safetensors file", size)
	}
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeader {
		return nil, corrupt("header of %d bytes, the format allows %d", length, maxHeader)
	}
	if int64(length) > size-8 {
		return nil, corrupt("header of %d bytes in a file of %d", length, size).WithHint("the file is cut short, or no safetensors file; fetch or copy it again")
	}
	if length > 0 {
		if _, err := r.ReadAt(prefix[:1], 8); err == nil && prefix[0] != '{' {
			return nil, corrupt("the header is not a JSON object")
		}
	}
	header := make([]byte, length)
	if _, err := r.ReadAt(header, 8); err != nil && !(err == io.EOF && length == 0) {
		return nil, err
	}
	f := &File{r: r, data: 8 + int64(length), infos: map[string]Info{}}
	if err := f.parse(header); err != nil {
		return nil, err
	}
	return f, f.checkLayout(size - f.data)
}

// checkLayout demands that the tensors tile the data section: no overlap, no hole, nothing outside.
func (f *File) checkLayout(size int64) error {
	ordered := slices.SortedFunc(maps.Values(f.infos), func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	at := int64(0)
	for _, i := range ordered {
		switch {
		case i.end > size:
			last := ordered[len(ordered)-1].end
			return corrupt("tensor %q: bytes [%d, %d) outside a data section of %d", i.Name, i.begin, i.end, size).
				WithHint("the file is cut short: its tensors need %d bytes more; fetch or copy it again", last-size)
		case i.begin < at:
			return corrupt("tensor %q: bytes [%d, %d) overlap another tensor's, which end at %d", i.Name, i.begin, i.end, at)
		case i.begin > at:
			return corrupt("tensor %q: a hole of %d bytes before it", i.Name, i.begin-at)
		}
		at = i.end
	}
	if at != size {
		return corrupt("%d bytes after the last tensor", size-at)
	}
	return nil
}

// parse reads the header token by token: a decoder into a map would hide repeated names.
func (f *File) parse(header []byte) error {
	if len(header) == 0 || header[0] != '{' {
		return corrupt("the header is not a JSON object")
	}
	if !utf8.Valid(header) { // encoding/json would replace the bytes and merge distinct names
		return corrupt("the header is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.UseNumber()
	err := object(dec, func(name string) error {
		if name == metadataKey {
			if f.metadata != nil {
				return corrupt("%s given twice", metadataKey)
			}
			return f.parseMetadata(dec)
		}
		if len(f.infos) == maxTensors {
			return corrupt("more than %d tensors", maxTensors).WithHint("no model has so many: the file is damaged, or of something else")
		}
		if _, twice := f.infos[name]; twice {
			return corrupt("tensor %q: name used twice", name)
		}
		info, err := parseInfo(dec, name)
		if err != nil {
			return corrupt("tensor %q: %w", name, err)
		}
		f.infos[name] = info
		return nil
	})
	if err != nil {
		if fault.KindOf(err) == fault.Corrupt {
			return err
		}
		return corrupt("header: %w", err)
	}
	if len(bytes.Trim(header[dec.InputOffset():], " ")) > 0 {
		return corrupt("header: text after the JSON object")
	}
	return nil
}

func (f *File) parseMetadata(dec *json.Decoder) error {
	f.metadata = map[string]string{}
	return object(dec, func(key string) error {
		if _, twice := f.metadata[key]; twice {
			return corrupt("%s: key %q used twice", metadataKey, key)
		}
		token, err := dec.Token()
		if err != nil {
			return err
		}
		value, ok := token.(string)
		if !ok {
			return corrupt("%s: %q is not a string", metadataKey, key)
		}
		f.metadata[key] = value
		return nil
	})
}

func parseInfo(dec *json.Decoder, name string) (Info, error) {
	info := Info{Name: name}
	var shape, offsets []int64
	seen := map[string]bool{}
	err := object(dec, func(key string) (err error) {
		if seen[key] {
			return fmt.Errorf("%s given twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			var token json.Token
			if token, err = dec.Token(); err != nil {
				return err
			}
			text, _ := token.(string)
			if info.DType = DType(text); info.DType.Size() == 0 {
				return fmt.Errorf("unknown dtype %v (weights of another precision are converted with .float())", token)
			}
		case "shape":
			shape, err = integers(dec)
		case "data_offsets":
			offsets, err = integers(dec)
		default:
			err = fmt.Errorf("unknown field %q", key)
		}
		return err
	})
	if err != nil {
		return info, err
	}
	if len(seen) != 3 {
		return info, fmt.Errorf("dtype, shape and data_offsets are needed")
	}
	if len(offsets) != 2 {
		return info, fmt.Errorf("%d data offsets, want 2", len(offsets))
	}
	info.Shape = make([]int, len(shape))
	for i, d := range shape {
		info.Shape[i] = int(d)
	}
	n, err := elements(info.Shape)
	if err != nil {
		return info, err
	}
	info.begin, info.end = offsets[0], offsets[1]
	if info.end < info.begin {
		return info, fmt.Errorf("data offsets %v run backwards", offsets)
	}
	if n > math.MaxInt/info.DType.Size() || int64(n*info.DType.Size()) != info.end-info.begin {
		return info, fmt.Errorf("%d bytes for %s %v", info.end-info.begin, info.DType, info.Shape)
	}
	return info, nil
}

// object walks a JSON object; value must consume the value of the key that it is given.
func object(dec *json.Decoder, value func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("unexpected %v", token)
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// integers reads a JSON array of non-negative whole numbers.
func integers(dec *json.Decoder) ([]int64, error) {
	if err := delim(dec, '['); err != nil {
		return nil, err
	}
	var list []int64
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v is not a number", token)
		}
		n, err := strconv.ParseInt(number.String(), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%v is not a size", number)
		}
		if len(list) == maxAxes {
			return nil, fmt.Errorf("a list of more than %d sizes", maxAxes)
		}
		list = append(list, n)
	}
	return list, delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v where %q was due", token, string(want))
	}
	return nil
}

// Path returns the file's path; "" when it was read by Decode.
func (f *File) Path() string { return f.path }

// Names returns the tensors' names, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.infos)) }

// Metadata returns a copy of the file's __metadata__; empty, never nil, when there is none.
func (f *File) Metadata() map[string]string {
	m := maps.Clone(f.metadata)
	if m == nil {
		m = map[string]string{}
	}
	return m
}

// Info describes a tensor; false when there is none of that name.
func (f *File) Info(name string) (Info, bool) {
	info, ok := f.infos[name]
	info.Shape = slices.Clone(info.Shape)
	return info, ok
}

// Read reads a tensor into new memory. A name that is not there is fault.NotFound.
func (f *File) Read(name string) (Tensor, error) {
	info, ok := f.Info(name)
	if !ok {
		return Tensor{}, fault.New(fault.NotFound, "no tensor %q", name).WithFile(f.path, 0, 0)
	}
	words := make([]uint64, (info.Bytes()+7)/8) // aligned for every dtype
	data := Bytes(words)[:info.Bytes()]
	if _, err := f.r.ReadAt(data, f.data+info.begin); err != nil && len(data) > 0 {
		return Tensor{}, fault.New(fault.Corrupt, "tensor %q: %w", name, err).WithFile(f.path, 0, 0)
	}
	return Tensor{Name: name, DType: info.DType, Shape: info.Shape, Data: data}, nil
}

// Close closes the file; tensors read from it stay valid.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

func corrupt(format string, args ...any) *fault.Error {
	return fault.New(fault.Corrupt, format, args...)
}
