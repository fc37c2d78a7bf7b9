package table

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"

	"tandem/core/fault"
)

// maxWindow limits the memory that a compressed table may ask for.
const maxWindow = 128 << 20

// Decompress returns the plain bytes of a table, whose first bytes tell how it is compressed, and what is to be closed behind
// them; nil for nothing.
func Decompress(name string, in io.Reader) (io.Reader, io.Closer, error) {
	head := bufio.NewReaderSize(in, 1<<16)
	mark, _ := head.Peek(6)
	broken := func(err error) error {
		return fault.New(fault.Corrupt, "the table cannot be decompressed: %w", err).WithFile(name, 0, 0)
	}
	switch {
	case bytes.HasPrefix(mark, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(head)
		if err != nil {
			return nil, nil, broken(err)
		}
		return z, z, nil
	case bytes.HasPrefix(mark, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, broken(err)
		}
		return z, z.IOReadCloser(), nil
	}
	for _, other := range []struct{ mark, kind, how string }{{"PK\x03\x04", "zip", "unzip"}, {"BZh", "bzip2", "bunzip2"}, {"\xfd7zXZ", "xz", "unxz"}} {
		if bytes.HasPrefix(mark, []byte(other.mark)) {
			return nil, nil, fault.New(fault.Invalid, "the table is compressed by %s, which is not read", other.kind).WithFile(name, 0, 0).
				WithHint("%s %s (gzip and zstd are read as they are)", other.how, name)
		}
	}
	return head, nil, nil
}
