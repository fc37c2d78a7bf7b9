package weights

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"unicode/utf8"

	"tandem/core/fault"
	"tandem/core/files/leftover"
)

const metadataKey = "__metadata__"

// Write writes a file through a temporary neighbour and a rename: path holds the old content or the
// new, never a part. It is not synced to disk; WriteSync is. Wrong tensors are fault.Invalid, a full
// disk fault.Exhausted.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	return write(path, tensors, metadata, false)
}

// WriteSync does what Write does, and syncs the content to disk before the rename and the folder after it.
func WriteSync(path string, tensors []Tensor, metadata map[string]string) error {
	return write(path, tensors, metadata, true)
}

func write(path string, tensors []Tensor, metadata map[string]string, sync bool) (err error) {
	dir := filepath.Dir(path)
	file, err := leftover.File(dir, "."+filepath.Base(path)+".", ".tmp")
	if err != nil {
		return ioFault(err, path)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
			err = ioFault(err, path)
		}
	}()
	if err := Encode(file, tensors, metadata); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil { // CreateTemp's 0600 would lock other users out
		return err
	}
	if sync {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	if err := os.Rename(file.Name(), path); err != nil { // while it is open: see leftover.File
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil // the rename has happened; only its durability is unknown
	}
	defer folder.Close()
	folder.Sync()
	return nil
}

// Encode writes the tensors to w in safetensors format, one after the other. The bytes depend on
// the content only, not on the order of tensors. Names that are empty, repeated, not UTF-8 or
// __metadata__, unknown dtypes and data of the wrong length are fault.Invalid.
func Encode(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	ordered := slices.Clone(tensors)
	slices.SortStableFunc(ordered, func(a, b Tensor) int {
		return cmp.Or(rank(b.DType)-rank(a.DType), cmp.Compare(a.Name, b.Name))
	})
	header, lengths, err := encodeHeader(ordered, metadata)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<20)
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(header)))
	out.Write(length[:])
	out.Write(header)
	for i, t := range ordered {
		data := t.Data
		if data == nil && t.Load != nil {
			if data, err = t.Load(); err != nil {
				return err
			}
		}
		if len(data) != lengths[i] {
			return fault.New(fault.Invalid, "tensor %q: %d bytes for %s %v, want %d",
				t.Name, len(data), t.DType, t.Shape, lengths[i])
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	return out.Flush()
}

// rank orders dtypes as the reference implementation does: by its declaration, narrow ones first.
// Wide tensors lead a file so that each is aligned to its element.
func rank(d DType) int {
	return slices.Index([]DType{Bool, U8, "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", F16, BF16,
		I32, "U32", F32, "F64", I64, "U64"}, d)
}

// encodeHeader gives the padded JSON header and the bytes that each tensor must have.
func encodeHeader(ordered []Tensor, metadata map[string]string) ([]byte, []int, error) {
	var b bytes.Buffer
	lengths := make([]int, len(ordered))
	seen := make(map[string]bool, len(ordered))
	b.WriteByte('{')
	if metadata != nil {
		b.WriteString(`"` + metadataKey + `":{`)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(&b, key)
			b.WriteByte(':')
			writeString(&b, metadata[key])
		}
		b.WriteByte('}')
	}
	offset := 0
	for i, t := range ordered {
		if err := check(t, seen); err != nil {
			return nil, nil, err
		}
		n, err := elements(t.Shape)
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "tensor %q: %w", t.Name, err)
		}
		lengths[i] = n * t.DType.Size()
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		writeString(&b, t.Name)
		b.WriteString(`:{"dtype":"` + string(t.DType) + `","shape":[`)
		for axis, d := range t.Shape {
			if axis > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(d))
		}
		b.WriteString(`],"data_offsets":[` + strconv.Itoa(offset) + "," + strconv.Itoa(offset+lengths[i]) + "]}")
		offset += lengths[i]
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, nil, fault.New(fault.Invalid, "header of %d bytes, the format allows %d", b.Len(), maxHeader)
	}
	return b.Bytes(), lengths, nil
}

func check(t Tensor, seen map[string]bool) error {
	switch {
	case t.Name == "" || t.Name == metadataKey || !utf8.ValidString(t.Name):
		return fault.New(fault.Invalid, "tensor name %q cannot be stored", t.Name)
	case seen[t.Name]:
		return fault.New(fault.Invalid, "tensor %q: name used twice", t.Name)
	case t.DType.Size() == 0:
		return fault.New(fault.Invalid, "tensor %q: unknown dtype %q", t.Name, t.DType)
	}
	seen[t.Name] = true
	return nil
}

func writeString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.Encode(s)           // a string always encodes
	b.Truncate(b.Len() - 1) // the newline of Encode
}

// ioFault types a failure of the file system; a fault passes unchanged but for its file.
func ioFault(err error, path string) error {
	var typed *fault.Error
	if errors.As(err, &typed) {
		if typed.File == "" {
			typed.File = path
		}
		return err
	}
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err // its path is that of a temporary neighbour
	}
	kind := fault.Internal
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = fault.Invalid
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = fault.Exhausted
	}
	return fault.New(kind, "%w", err).WithFile(path, 0, 0)
}
