// Package idx reads sets in MNIST's file format: two files of arrays of bytes, the pictures and their labels.
package idx

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Array holds an array of bytes. Its file has two zeros, the type 8, the number of axes, the length of each
// as a big-endian uint32, then the values row-major.
type Array struct {
	File   string
	Shape  []int
	Data   []byte
	Digest string // hex sha256 of header and data
}

// maxIdx bounds what a header may ask for, so that a broken one does not take all memory.
const maxIdx = 4 << 30

// Read reads a file, through gzip when its name ends in .gz. Data that is not whole, well-formed and of that
// many axes yields fault.Corrupt.
func Read(path string, axes int) (*Array, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReaderSize(f, 1<<20)
	bad := func(format string, args ...any) error {
		return fault.New(fault.Corrupt, format, args...).WithFile(path, 0, 0)
	}
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, bad("%w", err)
		}
	}
	header := make([]byte, 4+4*axes)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, bad("no idx header: %w", err)
	}
	if header[0] != 0 || header[1] != 0 || header[2] != 8 || int(header[3]) != axes {
		return nil, bad("starts with % x, want 00 00 08 %02x (an idx file of bytes with %d axes)", header[:4], axes, axes)
	}
	x, size := &Array{File: path}, 1
	for i := range axes {
		n := int(binary.BigEndian.Uint32(header[4+4*i:]))
		if n == 0 || n > math.MaxInt/size || size*n > maxIdx {
			return nil, bad("axis %d has length %d", i, n)
		}
		size *= n
		x.Shape = append(x.Shape, n)
	}
	h := sha256.New()
	h.Write(header)
	if x.Data, err = io.ReadAll(io.TeeReader(io.LimitReader(r, int64(size)), h)); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, bad("%w", err)
	}
	if len(x.Data) < size {
		return nil, bad("truncated: %d of %d values", len(x.Data), size)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); n > 0 {
		return nil, bad("more than the %d values of its header", size)
	} else if err != nil { // gzip checks its sum at the end
		return nil, bad("%w", err)
	}
	x.Digest = hex.EncodeToString(h.Sum(nil))
	return x, nil
}
