package feature

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"
)

// A segment is, little-endian,
//
//	magic [16]                     "tandem features1"
//	identity [32]                  sha256 of what the set depends on
//	dim, rows u32
//	check u32                      CRC-32C of all before it and of the index
//	index: rows × { key [16], check u32 }   check is the CRC-32C of the row
//	rows × f32 [dim]
//
// and ends there.
const (
	magic     = "tandem features1"
	ending    = ".features"
	temporary = ".tmp"

	headerSize = 16 + sha256.Size + 3*4
	entrySize  = 16 + 4
	// staleAfter passes before a temporary file counts as left by a killed process.
	staleAfter = time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A segment holds the index of a file whose header and index were checked.
type segment struct {
	name   string
	keys   []key // until they are taken
	checks []uint32
	dim    int
}

// writeSegment writes rows of values [len(keys), dim] as a new segment, whole or not at all.
func writeSegment(dir string, identity [sha256.Size]byte, keys []key, values []float32, dim int) (*segment, error) {
	g := &segment{dim: dim, checks: make([]uint32, len(keys))}
	out := make([]byte, 0, headerSize+len(keys)*entrySize+len(values)*4)
	out = append(append(out, magic...), identity[:]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(dim))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(keys)))
	out = append(out, 0, 0, 0, 0) // check
	rows := make([]byte, 0, len(values)*4)
	for _, v := range values {
		rows = binary.LittleEndian.AppendUint32(rows, math.Float32bits(v))
	}
	for i, k := range keys {
		g.checks[i] = crc32.Checksum(rows[i*dim*4:(i+1)*dim*4], castagnoli)
		out = binary.LittleEndian.AppendUint32(append(out, k[:]...), g.checks[i])
	}
	binary.LittleEndian.PutUint32(out[headerSize-4:], headerCheck(out))
	var unique [12]byte
	_, _ = rand.Read(unique[:]) // never fails
	g.name = filepath.Join(dir, hex.EncodeToString(unique[:])+ending)
	return g, write(g.name, append(out, rows...))
}

// headerCheck returns the checksum of header and index without the check itself.
func headerCheck(head []byte) uint32 {
	sum := crc32.Update(0, castagnoli, head[:headerSize-4])
	return crc32.Update(sum, castagnoli, head[headerSize:])
}

// readIndex opens a segment of a set. The rows themselves are checked when they are read.
func readIndex(name string, identity [sha256.Size]byte, dim int) (*segment, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, errors.New("it is shorter than a header")
	}
	d, n := binary.LittleEndian.Uint32(head[48:]), binary.LittleEndian.Uint32(head[52:])
	switch {
	case string(head[:16]) != magic:
		return nil, errors.New("it is no file of features")
	case !bytes.Equal(head[16:48], identity[:]):
		return nil, errors.New("it belongs to other features")
	case int64(d) != int64(dim):
		return nil, fmt.Errorf("its features have %d dimensions, want %d", d, dim)
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if want := headerSize + int64(n)*(entrySize+4*int64(dim)); stat.Size() != want {
		return nil, fmt.Errorf("it has %d bytes, want %d", stat.Size(), want)
	}
	head = append(head, make([]byte, int(n)*entrySize)...)
	if _, err := io.ReadFull(f, head[headerSize:]); err != nil {
		return nil, err
	}
	if headerCheck(head) != binary.LittleEndian.Uint32(head[headerSize-4:]) {
		return nil, errors.New("its checksum is wrong")
	}
	g := &segment{name: name, dim: dim, keys: make([]key, n), checks: make([]uint32, n)}
	for i := range g.keys {
		entry := head[headerSize+i*entrySize:]
		copy(g.keys[i][:], entry)
		g.checks[i] = binary.LittleEndian.Uint32(entry[16:])
	}
	return g, nil
}

// read copies row i of the segment to row, and checks it.
func (g *segment) read(open *files, i int, row []float32) error {
	f, err := open.get(g.name)
	if err != nil {
		return err
	}
	data := make([]byte, g.dim*4)
	if _, err := f.ReadAt(data, headerSize+int64(len(g.checks))*entrySize+int64(i)*int64(len(data))); err != nil {
		return err
	}
	if crc32.Checksum(data, castagnoli) != g.checks[i] {
		return fmt.Errorf("the checksum of row %d is wrong", i)
	}
	for d := range row[:g.dim] {
		row[d] = math.Float32frombits(binary.LittleEndian.Uint32(data[d*4:]))
	}
	return nil
}

// write writes a file whole or not at all.
func write(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "*"+temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error counts
	}
	return err
}

// removeStale removes what killed processes left half-written.
func removeStale(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+temporary)) // the pattern is well-formed
	for _, name := range names {
		if stat, err := os.Stat(name); err == nil && time.Since(stat.ModTime()) > staleAfter {
			_ = os.Remove(name) // it does no harm
		}
	}
}

// files keeps a bounded number of files open.
type files struct{ open map[string]*os.File }

// maxOpen limits the files that are kept open.
const maxOpen = 64

func (f *files) get(name string) (*os.File, error) {
	if file := f.open[name]; file != nil {
		return file, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if len(f.open) >= maxOpen {
		f.close()
	}
	if f.open == nil {
		f.open = map[string]*os.File{}
	}
	f.open[name] = file
	return file, nil
}

func (f *files) forget(name string) {
	if file := f.open[name]; file != nil {
		file.Close()
		delete(f.open, name)
	}
}

func (f *files) close() {
	for _, file := range f.open {
		file.Close()
	}
	f.open = nil
}
