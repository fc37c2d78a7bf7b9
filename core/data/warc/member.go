package warc

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"tandem/core/fault"
)

// What can begin at a place of a file.
type beginning int

const (
	other beginning = iota
	plain
	compressed
	blank // the end of a line, which separates records
)

var (
	warcMagic = []byte("WARC/")
	gzipMagic = []byte{0x1f, 0x8b, 8}
)

// begins tells what begins at a place; io.EOF behind the last byte.
func (r *Reader) begins(pos int64) (beginning, error) {
	var b [5]byte
	n, err := r.src.ReadAt(b[:min(5, max(0, r.size-pos))], pos)
	if n == 0 {
		if err == nil {
			err = io.EOF
		}
		return other, err
	}
	switch head := b[:n]; {
	case bytes.HasPrefix(head, warcMagic):
		return plain, nil
	case bytes.HasPrefix(head, gzipMagic):
		return compressed, nil
	case head[0] == '\r' || head[0] == '\n':
		return blank, nil
	}
	return other, nil
}

// resync returns the next place from pos on where a record begins: a line "WARC/1.", or a compressed member that begins so.
func (r *Reader) resync(pos int64) int64 {
	buffer := make([]byte, 4<<10) // it grows with the way, so that many short ways cost little
	line := []byte("\nWARC/1.")
	for pos < r.size {
		n, _ := r.src.ReadAt(buffer[:min(int64(len(buffer)), r.size-pos)], pos)
		if n == 0 {
			break
		}
		for i := 0; i < n; i++ {
			here := buffer[i:n]
			if bytes.HasPrefix(here, line) {
				return pos + int64(i) + 1
			}
			if bytes.HasPrefix(here, gzipMagic) && r.isMember(pos+int64(i)) {
				return pos + int64(i)
			}
		}
		if n <= len(line) {
			break
		}
		pos += int64(n - len(line)) // what stands across two buffers
		if len(buffer) < 1<<20 {
			buffer = make([]byte, 2*len(buffer))
		}
	}
	return r.size
}

// isMember reports whether a compressed record begins at a place.
func (r *Reader) isMember(pos int64) bool {
	m, err := openMember(r.src, pos, r.size, r.limits)
	if err != nil {
		return false
	}
	head, _ := m.out.Peek(len(warcMagic))
	return bytes.Equal(head, warcMagic)
}

// member reads one gzip member, which holds a record or several.
type member struct {
	in  *counter
	out *bufio.Reader
	at  int64 // decompressed bytes up to the next record
}

func openMember(src io.ReaderAt, pos, size int64, l Limits) (*member, error) {
	in := &counter{r: bufio.NewReader(io.NewSectionReader(src, pos, size-pos))}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, damaged(Place{Offset: pos}, "gzip: %w", err)
	}
	z.Multistream(false)
	return &member{in: in, out: bufio.NewReader(&bounded{r: z, in: in, ratio: l.Ratio, pos: pos})}, nil
}

// maxBlank bounds the ends of lines between two records.
const maxBlank = 64

// skipBlank skips the ends of lines behind a record and reports whether more follows in the member.
func (m *member) skipBlank() (bool, error) {
	for range maxBlank {
		b, err := m.out.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, damaged(Place{}, "gzip: %w", err)
		case b != '\r' && b != '\n':
			return true, m.out.UnreadByte()
		}
		m.at++
	}
	return false, damaged(Place{}, "more than %d ends of lines between records", maxBlank)
}

// counter counts what is read. It has ReadByte, so that gzip reads no further than its member.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// bounded ends a stream that decompresses to too much.
type bounded struct {
	r     io.Reader
	in    *counter
	ratio int64
	pos   int64
	n     int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.n > ratioFrom && b.n > b.ratio*b.in.n {
		return 0, fault.New(fault.Exhausted, "the record at byte %d decompresses to more than %d times its size", b.pos, b.ratio).
			WithReason("decompression bomb")
	}
	return n, err
}
