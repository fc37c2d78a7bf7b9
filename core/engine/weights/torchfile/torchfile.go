// Package torchfile reads the tensors of files that PyTorch writes: torch.save's (zip files, and the older format of one
// pickle after the other) and TorchScript archives, such as OpenAI's CLIP models.
//
// A pickle is a program. This one runs without Python: it builds dicts, lists and tensors, and it refuses every name that
// weights have no use for, with that name, as torch.load does with weights_only. Sizes are checked against the file
// before anything is allocated.
package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"os"
	"path"
	"strings"

	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/files"
)

const (
	// maxPickle bounds the bytes of a pickle, which holds names and shapes only.
	maxPickle = 256 << 20
	// maxTensors bounds the tensors of a file, as those of a safetensors file.
	maxTensors = 1 << 20
	// maxNames bounds the bytes of all their names together.
	maxNames = 64 << 20
	// maxShare bounds the bytes of all tensors together, in multiples of the file's: tensors may share a storage.
	maxShare = 4
)

// legacyMagic is the first pickle of a file of the old format: 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")

// File is an open file of PyTorch.
type File struct {
	path     string
	file     *os.File
	size     int64
	found    []named
	storages map[string]*io.SectionReader
}

// Is reports whether the file at path is one of PyTorch's, or the beginning of one that was cut short.
func Is(path string) bool {
	f, err := files.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	if bytes.HasPrefix(head, legacyMagic) {
		return true
	}
	stat, err := f.Stat()
	if err != nil || !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return false
	}
	z, err := zip.NewReader(f, stat.Size())
	if err != nil { // cut short
		return bytes.Contains(head, []byte("/data.pkl"))
	}
	return pickleOf(z) != nil
}

// pickleOf returns the entry that lists the tensors of a zip file: its name, NAME/data.pkl, lies one folder deep.
func pickleOf(z *zip.Reader) *zip.File {
	for _, e := range z.File {
		if path.Base(e.Name) == "data.pkl" && strings.Count(e.Name, "/") == 1 {
			return e
		}
	}
	return nil
}

// Open reads what tensors a file has. A file that wants more than tensors is fault.Invalid, with the name that it wants;
// one that contradicts itself is fault.Corrupt.
func Open(path string) (*File, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, file: file, storages: map[string]*io.SectionReader{}}
	if err := f.read(); err != nil {
		file.Close()
		return nil, f.at(err)
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// at adds the file to a fault.
func (f *File) at(err error) error {
	var typed *fault.Error
	if errors.As(err, &typed) && typed.File == "" {
		return typed.WithFile(f.path, 0, 0)
	}
	return err
}

func (f *File) read() error {
	stat, err := f.file.Stat()
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	f.size = stat.Size()
	head := make([]byte, len(legacyMagic))
	if _, err := f.file.ReadAt(head, 0); err != nil {
		return fault.New(fault.Corrupt, "%w", err)
	}
	var root any
	if bytes.Equal(head, legacyMagic) {
		root, err = f.readLegacy()
	} else {
		root, err = f.readZip()
	}
	if err != nil {
		return err
	}
	if f.found, err = flatten(root); err != nil {
		return err
	}
	return f.checkTensors()
}

// checkTensors holds the tensors against the file's bytes.
func (f *File) checkTensors() error {
	if len(f.found) == 0 {
		return fault.New(fault.Invalid, "a PyTorch file without tensors")
	}
	if len(f.found) > maxTensors {
		return fault.New(fault.Corrupt, "%d tensors, of which %d are allowed", len(f.found), maxTensors)
	}
	total := int64(0)
	for _, t := range f.found {
		r := f.storages[t.storage.key]
		if r == nil {
			return fault.New(fault.Corrupt, "tensor %q: its storage %q is not in the file", t.name, t.storage.key)
		}
		if want := int64(t.storage.size) * int64(t.storage.dtype.Size()); r.Size() < want {
			return fault.New(fault.Corrupt, "tensor %q: its storage has %d bytes, want %d", t.name, r.Size(), want).
				WithHint("the file is cut short: fetch it again")
		}
		total += int64(t.elements() * t.storage.dtype.Size())
	}
	if total > maxShare*f.size {
		return fault.New(fault.Corrupt, "tensors of %d bytes in a file of %d", total, f.size)
	}
	return nil
}

func (f *File) readZip() (any, error) {
	z, err := zip.NewReader(f.file, f.size)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "%w", err).WithHint("the file is cut short: fetch it again")
	}
	pickle := pickleOf(z)
	if pickle == nil {
		return nil, fault.New(fault.Invalid, "a zip archive without data.pkl, not a PyTorch file")
	}
	root := strings.TrimSuffix(pickle.Name, "data.pkl")
	script := false
	for _, e := range z.File {
		name, ours := strings.CutPrefix(e.Name, root)
		switch {
		case !ours:
		case name == "constants.pkl" || strings.HasPrefix(name, "code/"):
			script = true
		case name == "byteorder":
			order, err := f.entry(e)
			if err != nil {
				return nil, err
			}
			text := make([]byte, min(order.Size(), 16))
			if _, err := order.ReadAt(text, 0); err != nil || strings.TrimSpace(string(text)) != "little" {
				return nil, fault.New(fault.Invalid, "the byte order %q, want little", text)
			}
		case strings.HasPrefix(name, "data/"):
			r, err := f.entry(e)
			if err != nil {
				return nil, err
			}
			f.storages[strings.TrimPrefix(name, "data/")] = r
		}
	}
	r, err := f.entry(pickle)
	if err != nil {
		return nil, err
	}
	data, err := readPickle(r)
	if err != nil {
		return nil, err
	}
	m := newMachine(data)
	m.script = script
	return m.run()
}

// entry returns the bytes of an entry of a zip file, which lie in it as they are.
func (f *File) entry(e *zip.File) (*io.SectionReader, error) {
	if e.Method != zip.Store {
		return nil, fault.New(fault.Invalid, "%s is compressed, as PyTorch never writes", e.Name).
			WithHint("unpack the file and pack it again without compression (zip -0), or load and save it with PyTorch")
	}
	at, err := e.DataOffset()
	if err != nil || e.UncompressedSize64 > uint64(f.size) || at > f.size-int64(e.UncompressedSize64) {
		return nil, fault.New(fault.Corrupt, "%s lies beyond the end of the file", e.Name).WithHint("the file is cut short: fetch it again")
	}
	return io.NewSectionReader(f.file, at, int64(e.UncompressedSize64)), nil
}

func readPickle(r *io.SectionReader) ([]byte, error) {
	if r.Size() > maxPickle {
		return nil, fault.New(fault.Corrupt, "a pickle of %d bytes, of which %d are allowed", r.Size(), maxPickle)
	}
	data := make([]byte, r.Size())
	if _, err := r.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	return data, nil
}

// readLegacy reads the old format: five pickles (a magic number, a version, facts about the machine, the value, the
// storages' keys), then of each storage its length, u64, and its elements.
func (f *File) readLegacy() (any, error) {
	data, err := readPickle(io.NewSectionReader(f.file, 0, min(f.size, maxPickle)))
	if err != nil {
		return nil, err
	}
	var parts [5]any
	var dtypes map[string]weights.DType
	at := 0
	for i := range parts {
		m := newMachine(data[at:])
		if parts[i], err = m.run(); err != nil {
			return nil, err
		}
		if at += m.at; i == 3 {
			dtypes = m.dtypes
		}
	}
	if v, ok := parts[0].(*big.Int); !ok || v.Text(16) != "1950a86a20f9469cfc6c" || parts[1] != int64(1001) {
		n, _ := parts[1].(int64)
		return nil, fault.New(fault.Corrupt, "a PyTorch file of version %d, want 1001", n)
	}
	if d, ok := parts[2].(*dict); ok {
		for i, key := range d.keys {
			if key == "little_endian" && d.values[i] != true {
				return nil, fault.New(fault.Invalid, "the byte order of another machine, want little")
			}
		}
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, fault.New(fault.Corrupt, "no list of storages")
	}
	for _, key := range keys.items {
		name, _ := key.(string)
		dtype, known := dtypes[name]
		var length [8]byte
		if _, err := f.file.ReadAt(length[:], int64(at)); err != nil || !known {
			return nil, fault.New(fault.Corrupt, "the storage %q is missing", name).WithHint("the file is cut short: fetch it again")
		}
		n := binary.LittleEndian.Uint64(length[:])
		at += 8
		if n > uint64(f.size-int64(at))/uint64(dtype.Size()) {
			return nil, fault.New(fault.Corrupt, "the storage %q has %d elements, more than the file", name, n).WithHint("the file is cut short: fetch it again")
		}
		bytes := int64(n) * int64(dtype.Size())
		f.storages[name] = io.NewSectionReader(f.file, int64(at), bytes)
		at += int(bytes)
	}
	return parts[3], nil
}

// Tensors lists the tensors, each named by the keys on the way to it, joined by dots: a dict in a dict gives
// "state_dict.visual.proj". Their bytes are read when they are asked for, while the file is open.
func (f *File) Tensors() []weights.Tensor {
	out := make([]weights.Tensor, len(f.found))
	for i, t := range f.found {
		out[i] = weights.Tensor{Name: t.name, DType: t.storage.dtype, Shape: t.shape, Load: func() ([]byte, error) { return f.load(t.tensor) }}
	}
	return out
}

// load returns the elements of a tensor, row-major.
func (f *File) load(t *tensor) ([]byte, error) {
	r, size := f.storages[t.storage.key], t.storage.dtype.Size()
	at, n := t.offset*size, t.elements()*size
	if t.elements() == 0 {
		return []byte{}, nil
	}
	if !t.contiguous() {
		at, n = 0, t.storage.size*size
	}
	data := make([]byte, n)
	if _, err := r.ReadAt(data, int64(at)); err != nil && err != io.EOF {
		return nil, fault.New(fault.Unavailable, "%w", err).WithFile(f.path, 0, 0)
	}
	if t.contiguous() {
		return data, nil
	}
	return t.gather(data, size), nil
}
