package shard

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tandem/core/fault"
)

// block is the size in bytes of what a tar file is made of.
const block = 512

// member describes a member of a tar file.
type member struct {
	name         string
	offset, size int64
	// kind says what the member is when it is no plain file: "a link", "a sparse file".
	kind string
}

// walk goes through the members of a tar file in their order. After a place that is broken it goes on with the next header that
// it finds, and tells broken of it: the name of the member, where it is known, and what is wrong. It returns remarks on the
// end of the file.
func walk(ctx context.Context, c *cursor, visit func(member) error, broken func(name, what string)) (notes []string, err error) {
	tr := tar.NewReader(c)
	expected := int64(0) // where the next header begins
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		h, err := tr.Next()
		if c.err != nil {
			return nil, c.err
		}
		if errors.Is(err, tar.ErrInsecurePath) { // nothing is written to its path
			err = nil
		}
		switch {
		case err == io.EOF && expected >= c.size:
			if n == 0 {
				return nil, nil
			}
			return []string{"has no mark at its end: it may have been cut off between two members"}, nil
		case err == io.EOF:
			switch at := c.scan(expected); {
			case at == expected: // of PAX or GNU, and what it belongs to is not there
				broken("", fmt.Sprintf("the shard ends in a header, at byte %d", c.size))
			case at >= 0:
				notes = []string{fmt.Sprintf("has further members behind its end, from byte %d on, which are not read, as webdataset does not read them", c.pos)}
			}
			return notes, c.err
		case err != nil:
			what := fmt.Sprintf("the header at byte %d is broken", expected)
			if errors.Is(err, io.ErrUnexpectedEOF) && c.size-expected < block {
				what = fmt.Sprintf("the shard ends in a header, at byte %d", c.size)
			}
			next := c.scan(expected + block)
			if c.err != nil {
				return nil, c.err
			}
			if n == 0 && next < 0 {
				what = "is no tar file"
			}
			broken("", what)
			if expected = next; expected < 0 {
				return notes, nil
			}
			tr = tar.NewReader(c)
			continue
		}
		m := member{name: h.Name, offset: c.pos, size: h.Size, kind: kindOf(h)}
		if m.kind != "" && h.Typeflag >= tar.TypeLink && h.Typeflag <= tar.TypeFifo {
			m.size = 0 // such a header has no data behind it, whatever its size says
		}
		switch {
		case m.kind == sparse:
			expected = m.offset // its data may be of any length: after an error the search begins here
		case m.size > c.size-m.offset:
			broken(m.name, fmt.Sprintf("has %d bytes, but the shard ends after %d of them", m.size, c.size-m.offset))
			if expected = c.scan(m.offset); expected < 0 {
				return notes, c.err
			}
			tr = tar.NewReader(c)
			continue
		default:
			expected = m.offset + (m.size+block-1)/block*block
		}
		if err := visit(m); err != nil {
			return nil, err
		}
		if c.err != nil {
			return nil, c.err
		}
		c.pos = m.offset
	}
}

// sparse is the kind of a file with holes.
const sparse = "a sparse file"

// kindOf says what a member is when it is no plain file; "" for a plain file.
func kindOf(h *tar.Header) string {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, 0:
		for name := range h.PAXRecords {
			if strings.HasPrefix(name, "GNU.sparse.") {
				return sparse
			}
		}
		return ""
	case tar.TypeGNUSparse:
		return sparse
	case tar.TypeLink, tar.TypeSymlink:
		return "a link"
	case tar.TypeDir:
		return "a folder"
	case tar.TypeXGlobalHeader:
		return "a header for all"
	}
	return fmt.Sprintf("a special file (type %q)", h.Typeflag)
}

// cursor reads forward through an object, a window at a time.
type cursor struct {
	r         io.ReaderAt
	size, pos int64
	window    []byte // its length is the most that is read at a time
	at        int64  // where the window begins
	n         int    // bytes in it
	sum       io.Writer
	summed    int64 // bytes that went to sum
	err       error // of the object, not of its content
}

// newCursor returns a cursor that reads window bytes at a time. What it reads goes to sum too, all of it and in order; nil
// for none: then what nobody asks for is not read.
func newCursor(r io.ReaderAt, size int64, window int, sum io.Writer) *cursor {
	return &cursor{r: r, size: size, window: make([]byte, window), sum: sum}
}

// Read implements io.Reader.
func (c *cursor) Read(p []byte) (int, error) {
	if c.pos >= c.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.pos < c.at || c.pos >= c.at+int64(c.n) {
		if err := c.load(c.pos); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.window[c.pos-c.at:c.n])
	c.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (c *cursor) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, fault.New(fault.Corrupt, "byte %d", offset)
	}
	c.pos = offset
	return offset, nil
}

// load fills the window from pos on.
func (c *cursor) load(pos int64) error {
	for c.sum != nil && c.summed < pos {
		if err := c.fill(c.summed); err != nil || pos < c.at+int64(c.n) {
			return err
		}
	}
	return c.fill(pos)
}

func (c *cursor) fill(pos int64) error {
	want := int(min(int64(len(c.window)), c.size-pos))
	n, err := c.r.ReadAt(c.window[:want], pos)
	if n < want {
		c.at, c.n = 0, 0
		if err == nil || err == io.EOF {
			err = fault.New(fault.Conflict, "the shard became shorter while it was read")
		}
		c.err = err
		return err
	}
	c.at, c.n = pos, n
	if fresh := pos + int64(n) - c.summed; c.sum != nil && pos <= c.summed && fresh > 0 {
		c.sum.Write(c.window[n-int(fresh) : n])
		c.summed += fresh
	}
	return nil
}

// finish reads what is left for sum.
func (c *cursor) finish() error {
	for c.sum != nil && c.summed < c.size {
		if err := c.fill(c.summed); err != nil {
			return err
		}
	}
	return nil
}

// bytes reads size bytes from a place on.
func (c *cursor) bytes(into []byte, offset, size int64) ([]byte, error) {
	c.pos = offset
	into = append(into[:0], make([]byte, size)...)
	_, err := io.ReadFull(c, into)
	return into, err
}

// scan looks for a header from a place on, and goes to it. It returns -1 when there is none.
func (c *cursor) scan(from int64) int64 {
	var b [block]byte
	for c.pos = from; c.pos+block <= c.size; {
		at := c.pos
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return -1
		}
		if isHeader(b[:]) {
			c.pos = at
			return at
		}
	}
	return -1
}

// isHeader reports whether the checksum of a block is that of a header.
func isHeader(b []byte) bool {
	const from, to = 148, 156
	text := string(bytes.Trim(b[from:to], " \x00"))
	want, err := strconv.ParseInt(text, 8, 32)
	if err != nil {
		return false
	}
	var sum, signed int64 // old programs add signed bytes
	for i, x := range b {
		if i >= from && i < to {
			x = ' '
		}
		sum, signed = sum+int64(x), signed+int64(int8(x))
	}
	return want == sum || want == signed
}
