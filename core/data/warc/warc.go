// Package warc reads web archives (WARC, ISO 28500), plain and compressed by record, from files of strangers: every length is
// bounded, damage is named, and reading goes on behind it.
//
// github.com/nlnwa/gowarc, which would have been the library for it, indexes before the beginning of the six bytes "WARC/\n",
// reads a header line of any length into memory, and takes a negative Content-Length (ADR 0021).
package warc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/textproto"
	"strconv"
	"strings"

	"tandem/core/fault"
)

// Limits bounds what a record may need. Zero fields take the defaults.
type Limits struct {
	HeaderBytes int64 // of a record's header; 64 KiB
	RecordBytes int64 // of a compressed record's content; 4 GiB
	Ratio       int64 // decompressed bytes for each of the file, counted from 16 MiB on; 250
}

func (l Limits) filled() Limits {
	fill := func(v *int64, to int64) {
		if *v == 0 {
			*v = to
		}
	}
	fill(&l.HeaderBytes, 64<<10)
	fill(&l.RecordBytes, 4<<30)
	fill(&l.Ratio, 250)
	return l
}

// ratioFrom exempts small members from Limits.Ratio.
const ratioFrom = 16 << 20

// Place tells where a record begins: at Offset in the file or, when a compressed member holds several records, Skip
// decompressed bytes into the member at Offset.
type Place struct{ Offset, Skip int64 }

// Record holds the header of one record. Its content is read with Content, before the next call of the Reader.
type Record struct {
	Type        string // "response", "resource", "warcinfo", …
	URI         string // WARC-Target-URI, without angle brackets
	ContentType string // of the record's content
	Length      int64  // of the content
	Place       Place

	content io.Reader
}

// Content reads the content, at most limit bytes; a longer one yields fault.Exhausted.
func (r *Record) Content(limit int64) ([]byte, error) {
	if r.Length > limit {
		return nil, fault.New(fault.Exhausted, "the record of %s has %d bytes, the limit is %d", r.URI, r.Length, limit).WithReason("too many bytes")
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, r.content)
	if err != nil {
		return nil, damaged(r.Place, "%w", err)
	}
	if n < r.Length {
		return nil, truncated(r.Place, r.Length, n)
	}
	return b.Bytes(), nil
}

// Reader reads the records of one file in order. It is not safe for use by several goroutines; At is.
type Reader struct {
	src    io.ReaderAt
	size   int64
	limits Limits

	pos    int64   // where the next record or member begins
	member *member // the compressed member that is being read
	rest   *io.LimitedReader
}

// NewReader returns a Reader of a file of size bytes.
func NewReader(src io.ReaderAt, size int64, l Limits) *Reader {
	return &Reader{src: src, size: size, limits: l.filled()}
}

// From has the next record be that which begins at an offset, as an earlier record's Place without Skip told it.
func (r *Reader) From(offset int64) { r.pos, r.member, r.rest = offset, nil, nil }

// Offset returns how far into the file the Reader is.
func (r *Reader) Offset() int64 {
	if r.member != nil {
		return r.pos + r.member.in.n
	}
	return r.pos
}

// Next returns the next record; io.EOF at the end. Damage yields fault.Corrupt, or fault.Exhausted for what is over a limit,
// with a reason; the following call goes on with the next record that is whole. Each error takes it forward, so that the
// end comes.
func (r *Reader) Next() (*Record, error) {
	if r.rest != nil {
		_, err := io.Copy(io.Discard, r.rest)
		at := r.rest
		r.rest = nil
		if err == nil && at.N > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, r.lost(damaged(Place{Offset: r.pos}, "%w", err))
		}
	}
	for {
		if r.member == nil {
			switch kind, err := r.begins(r.pos); {
			case err != nil:
				return nil, err
			case kind == plain:
				return r.plain()
			case kind == blank:
				r.pos++
				continue
			case kind == compressed:
				m, err := openMember(r.src, r.pos, r.size, r.limits)
				if err != nil {
					return nil, r.lost(err)
				}
				r.member = m
			default:
				return nil, r.lost(damaged(Place{Offset: r.pos}, "no record begins here"))
			}
		}
		more, err := r.member.skipBlank()
		if err != nil {
			return nil, r.lost(err)
		}
		if more {
			return r.inMember()
		}
		r.pos += r.member.in.n
		r.member = nil
	}
}

// lost leaves what cannot be read and stands at the next beginning of a record.
func (r *Reader) lost(err error) error {
	r.member, r.rest = nil, nil
	r.pos = r.resync(r.pos + 1)
	return err
}

// plain reads the header of an uncompressed record. Its content is skipped without being read.
func (r *Reader) plain() (*Record, error) {
	section := io.NewSectionReader(r.src, r.pos, r.size-r.pos)
	rec, used, err := header(bufio.NewReader(section), r.limits.HeaderBytes, Place{Offset: r.pos})
	if err != nil {
		return nil, r.lost(err)
	}
	begin := r.pos + used
	if rec.Length > r.size-begin {
		return nil, r.lost(truncated(rec.Place, rec.Length, r.size-begin))
	}
	rec.content = io.NewSectionReader(r.src, begin, rec.Length)
	r.pos = begin + rec.Length
	return rec, nil
}

// inMember reads the header of a compressed record.
func (r *Reader) inMember() (*Record, error) {
	m := r.member
	rec, used, err := header(m.out, r.limits.HeaderBytes, Place{Offset: r.pos, Skip: m.at})
	if err != nil {
		return nil, r.lost(err)
	}
	if rec.Length > r.limits.RecordBytes {
		return nil, r.lost(fault.New(fault.Exhausted, "the record at byte %d says it has %d bytes, the limit is %d", r.pos, rec.Length,
			r.limits.RecordBytes).WithReason("too many bytes"))
	}
	m.at += used + rec.Length
	r.rest = &io.LimitedReader{R: m.out, N: rec.Length}
	rec.content = r.rest
	return rec, nil
}

// At returns the record at a place that an earlier Next of this file reported. Several goroutines may call it.
func (r *Reader) At(p Place) (*Record, error) {
	one := &Reader{src: r.src, size: r.size, limits: r.limits, pos: p.Offset}
	if p.Skip == 0 {
		return one.Next()
	}
	m, err := openMember(r.src, p.Offset, r.size, r.limits)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, m.out, p.Skip); err != nil {
		return nil, damaged(p, "%w", err)
	}
	m.at, one.member = p.Skip, m
	return one.inMember()
}

// header reads a record's header, of at most limit bytes, and returns its length.
func header(in *bufio.Reader, limit int64, at Place) (*Record, int64, error) {
	rec, used := &Record{Place: at, Length: -1}, int64(0)
	for first := true; ; first = false {
		line, n, err := readLine(in, limit-used)
		used += n
		switch {
		case errors.Is(err, errLong):
			return nil, 0, fault.New(fault.Exhausted, "the record at byte %d has a header of more than %d bytes", at.Offset, limit).WithReason("corrupt record")
		case err != nil:
			return nil, 0, damaged(at, "header: %w", err)
		case first && !strings.HasPrefix(line, "WARC/"):
			return nil, 0, damaged(at, "a header begins with %q", cut(line))
		case first:
			continue
		case line == "":
			if rec.Length < 0 {
				return nil, 0, damaged(at, "a header without Content-Length")
			}
			return rec, used, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)) {
		case "Warc-Type":
			rec.Type = strings.ToLower(value)
		case "Warc-Target-Uri":
			rec.URI = strings.Trim(value, "<>")
		case "Content-Type":
			rec.ContentType = value
		case "Content-Length":
			if rec.Length, err = strconv.ParseInt(value, 10, 64); err != nil || rec.Length < 0 {
				return nil, 0, damaged(at, "Content-Length is %q", cut(value))
			}
		}
	}
}

var errLong = errors.New("too long")

// readLine reads a line without its end, of at most limit bytes with it.
func readLine(in *bufio.Reader, limit int64) (string, int64, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		n := int64(len(line))
		switch {
		case n > limit:
			return "", n, errLong
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), n, nil
		case errors.Is(err, io.EOF):
			return "", n, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", n, err
		}
	}
}

func cut(s string) string { return s[:min(len(s), 40)] }

func damaged(at Place, format string, args ...any) error {
	e := fault.New(fault.Corrupt, format, args...).WithReason("corrupt record")
	if errors.Is(e.Err, io.ErrUnexpectedEOF) || errors.Is(e.Err, io.EOF) {
		e.Reason = "truncated record"
	}
	var inner *fault.Error
	if errors.As(e.Err, &inner) { // a limit that was met while decompressing
		return inner
	}
	return e.WithOp("record at byte " + strconv.FormatInt(at.Offset, 10))
}

func truncated(at Place, want, have int64) error {
	return fault.New(fault.Corrupt, "the record at byte %d says it has %d bytes, %d are there", at.Offset, want, have).WithReason("truncated record")
}
