// Package tape keeps the calls of one plugin in a file, and plays them to a plugin again: the same version, to see whether
// it repeats itself, or another one, to see where its answers part.
//
// A tape is a line that says what it is, and then records, each of a length and a checksum of four bytes and a compressed
// protobuf message. A tape that was cut off, because the recording was killed, has all calls before the cut.
package tape

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/wire"
)

const magic = "tandem tape 1\n"

// maxRecord limits a record, packed and unpacked: a message has no more than 2 GiB, and a call has two.
const maxRecord = 1 << 32

// The fields of a record. Their numbers are the format: none is ever used for something else.
const (
	fieldHeader   = 1 // JSON; of the first record
	fieldMethod   = 2
	fieldRequest  = 3
	fieldResponse = 4
	fieldError    = 5 // JSON of a Failure
	fieldStart    = 6 // nanoseconds after the first call
	fieldTook     = 7 // nanoseconds
	fieldSaved    = 8 // hex sha256 of the file that a Save wrote
	fieldEnd      = 9 // of the last record: how many calls there are
)

// Header says what a tape is of.
type Header struct {
	Kind    clip.Kind `json:"kind"`
	Plugin  string    `json:"plugin"` // losses/clip
	Version string    `json:"version"`
	SHA256  string    `json:"sha256"`
	Path    string    `json:"path"`
	// Protocol is the version that the plugin speaks.
	Protocol int       `json:"protocol"`
	Role     string    `json:"role"`
	Threads  int       `json:"threads"` // that it was given
	Python   string    `json:"python"`  // the interpreter that its spec names; "": none
	Spec     string    `json:"spec"`    // resolved
	Platform string    `json:"platform"`
	Began    time.Time `json:"began"`
}

// Failure says how a call failed.
type Failure struct {
	Kind    fault.Kind `json:"kind"`
	Message string     `json:"message"`
}

// Call holds one call of a tape.
type Call struct {
	Number   int // from 1
	Method   string
	Request  proto.Message
	Response proto.Message // nil after a failure
	Failure  *Failure
	Start    time.Duration // after the first call
	Took     time.Duration // as the runner waited
	Saved    string        // the digest of the file that it wrote, of a Save
}

// Writer writes a tape. It may be used from several goroutines.
type Writer struct {
	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	pack  *flate.Writer
	buf   bytes.Buffer
	first time.Time
	calls int
	bytes int64
	err   error
}

// Create begins a tape. It replaces the file at path.
func Create(path string, h Header) (*Writer, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the tape: %w", err)
	}
	w := &Writer{file: f, out: bufio.NewWriterSize(f, 1<<16)}
	w.pack, _ = flate.NewWriter(&w.buf, flate.BestSpeed) // the level is one that there is
	text, err := json.Marshal(h)
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Internal, "the tape's header: %w", err)
	}
	_, w.err = w.out.WriteString(magic)
	w.write(protowire.AppendBytes(protowire.AppendTag(nil, fieldHeader, protowire.BytesType), text))
	return w, w.Err()
}

// Add writes a call. An error is kept, and later calls are not written: see Err.
func (w *Writer) Add(h wire.Heard) {
	record, err := encode(h)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	if w.first.IsZero() {
		w.first = h.Start
	}
	record = appendNumber(record, fieldStart, uint64(h.Start.Sub(w.first).Nanoseconds()))
	w.write(record)
	w.calls++
}

// encode writes all of a record but its time.
func encode(h wire.Heard) ([]byte, error) {
	record := appendBytes(nil, fieldMethod, []byte(h.Method))
	record = appendNumber(record, fieldTook, uint64(h.Took.Nanoseconds()))
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(h.Request)
	if err != nil {
		return nil, fault.New(fault.Internal, "a request of %s: %w", h.Method, err)
	}
	record = appendBytes(record, fieldRequest, request)
	if h.Err != nil {
		text, err := json.Marshal(Failure{fault.KindOf(h.Err), h.Err.Error()})
		if err != nil {
			return nil, fault.New(fault.Internal, "an error of %s: %w", h.Method, err)
		}
		return appendBytes(record, fieldError, text), nil
	}
	response, err := proto.MarshalOptions{Deterministic: true}.Marshal(h.Response)
	if err != nil {
		return nil, fault.New(fault.Internal, "an answer of %s: %w", h.Method, err)
	}
	record = appendBytes(record, fieldResponse, response)
	if path, saves := savedPath(h.Method, h.Request); saves {
		digest, err := files.Digest(path)
		if err != nil {
			return nil, err
		}
		record = appendBytes(record, fieldSaved, []byte(digest))
	}
	return record, nil
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// write packs and writes a record, unless something failed before.
func (w *Writer) write(record []byte) {
	if w.err != nil {
		return
	}
	w.buf.Reset()
	w.pack.Reset(&w.buf)
	_, packErr := w.pack.Write(record)
	if w.err = errors.Join(packErr, w.pack.Close()); w.err != nil {
		return
	}
	if int64(w.buf.Len()) >= maxRecord {
		w.err = fault.New(fault.Exhausted, "a call of %s is too much for a tape", clip.FormatBytes(int64(w.buf.Len())))
		return
	}
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], uint32(w.buf.Len()))
	binary.LittleEndian.PutUint32(head[4:], crc32.ChecksumIEEE(w.buf.Bytes()))
	_, headErr := w.out.Write(head[:])
	_, bodyErr := w.out.Write(w.buf.Bytes())
	if w.err = errors.Join(headErr, bodyErr); w.err == nil {
		w.bytes += int64(w.buf.Len()) + int64(len(head))
	}
}

// Err returns the first error of Create and Add.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || fault.KindOf(w.err) != fault.Internal {
		return w.err
	}
	return fault.New(fault.Exhausted, "the tape: %w", w.err)
}

// Size returns how many calls were written and how many bytes they take.
func (w *Writer) Size() (calls int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls, w.bytes
}

// Close ends the tape and returns the first error of all that was written.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.write(appendNumber(nil, fieldEnd, uint64(w.calls)))
	if err := errors.Join(w.out.Flush(), w.file.Close()); w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
	return w.Err()
}
