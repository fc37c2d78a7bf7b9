package tape

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/wire"
)

// ErrCut ends a tape that was cut off.
var ErrCut = errors.New("the tape ends before its end: the recording was cut off")

// Reader reads a tape.
type Reader struct {
	Header Header

	file  *os.File
	in    *bufio.Reader
	path  string
	calls int
}

// Open opens a tape and reads its header. The caller closes it. Errors: fault.Corrupt for what is no tape.
func Open(path string) (*Reader, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, in: bufio.NewReaderSize(f, 1<<16), path: path}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r.in, head); err != nil || string(head) != magic {
		f.Close()
		return nil, fault.New(fault.Corrupt, "this is no tape of this runner").WithFile(path, 0, 0).
			WithHint("runner plugin record makes one")
	}
	fields, err := r.record()
	if err == nil && fields[fieldHeader].bytes == nil {
		err = errors.New("it begins with no header")
	}
	if err == nil {
		err = json.Unmarshal(fields[fieldHeader].bytes, &r.Header)
	}
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Corrupt, "the tape: %w", err).WithFile(path, 0, 0)
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Next returns the next call. It returns io.EOF after the last, ErrCut where the tape was cut off, and fault.Corrupt
// for a record that is damaged.
func (r *Reader) Next() (*Call, error) {
	number := r.calls + 1
	corrupt := func(why error) error {
		return fault.New(fault.Corrupt, "call %d of the tape is damaged: %w", number, why).WithFile(r.path, 0, 0)
	}
	fields, err := r.record()
	switch {
	case errors.Is(err, ErrCut):
		return nil, ErrCut
	case err != nil:
		return nil, corrupt(err)
	}
	if end, ends := fields[fieldEnd]; ends {
		if end.number != uint64(r.calls) {
			return nil, corrupt(errors.New("some calls before the end are not there"))
		}
		return nil, io.EOF
	}
	r.calls = number
	c := &Call{Number: number, Method: string(fields[fieldMethod].bytes), Start: time.Duration(fields[fieldStart].number),
		Took: time.Duration(fields[fieldTook].number), Saved: string(fields[fieldSaved].bytes)}
	if f, failed := fields[fieldError]; failed {
		c.Failure = &Failure{}
		if err := json.Unmarshal(f.bytes, c.Failure); err != nil {
			return nil, corrupt(err)
		}
	}
	response := fields[fieldResponse].bytes
	if _, answered := fields[fieldResponse]; answered && response == nil {
		response = []byte{}
	}
	if c.Request, c.Response, err = wire.ParseHeard(c.Method, fields[fieldRequest].bytes, response); err != nil {
		return nil, corrupt(err)
	}
	if c.Response == nil && c.Failure == nil {
		return nil, corrupt(errors.New("it has neither an answer nor an error"))
	}
	return c, nil
}

// value holds a field of a record.
type value struct {
	bytes  []byte
	number uint64
}

// record reads and unpacks a record.
func (r *Reader) record() (map[protowire.Number]value, error) {
	var head [8]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, cut(err)
	}
	var body bytes.Buffer // grows as there is something, whatever the length says
	if _, err := io.CopyN(&body, r.in, int64(binary.LittleEndian.Uint32(head[:]))); err != nil {
		return nil, cut(err)
	}
	if crc32.ChecksumIEEE(body.Bytes()) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errors.New("its checksum is another one")
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(&body), maxRecord+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRecord {
		return nil, errors.New("it is too large")
	}
	fields := map[protowire.Number]value{}
	for len(text) > 0 {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		text = text[n:]
		var v value
		switch kind {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(text)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(text)
		default:
			n = protowire.ConsumeFieldValue(number, kind, text)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		text = text[n:]
		fields[number] = v
	}
	return fields, nil
}

// cut turns the end of a file into ErrCut.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}
