package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// bounded keeps the beginning and the end of a file of lines, however much is written.
type bounded struct {
	file  *os.File
	first int64 // bytes of the beginning to keep
	last  int64 // bytes of the end to keep; up to twice as many are there
	size  int64
	head  int64 // bytes of the beginning that stay, with the record that says what was left out; 0: nothing was yet
	keep  int64 // of them, without that record
	left  int64 // bytes left out
}

// openBounded opens a file of at most limit bytes to append to it. The beginning, which says how the plugin began,
// gets a fifth; the end says how it ended.
func openBounded(path string, limit int64) (*bounded, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &bounded{file: file, size: size, first: limit / 5, last: 2 * (limit / 5)}, nil
}

// Write appends lines, and cuts out the middle when there is too much.
func (b *bounded) Write(p []byte) (int, error) {
	n, err := b.file.Write(p)
	if b.size += int64(n); b.size > b.first+2*b.last {
		b.shorten()
	}
	return n, err
}

// shorten keeps the beginning and the end, whole lines of both. When that fails the file stays longer than it should be
// until the next time.
func (b *bounded) shorten() {
	if b.keep == 0 {
		start := make([]byte, b.first)
		if _, err := b.file.ReadAt(start, 0); err != nil {
			return
		}
		b.keep = int64(bytes.LastIndexByte(start, '\n') + 1)
		b.head = b.keep
	}
	end := make([]byte, b.last)
	if _, err := b.file.ReadAt(end, b.size-b.last); err != nil {
		return
	}
	end = end[bytes.IndexByte(end, '\n')+1:]
	b.left += b.size - int64(len(end)) - b.head
	gap, err := json.Marshal(Record{Time: time.Now(), Level: Warn, Message: fmt.Sprintf("… %d bytes were left out here …", b.left)})
	if err != nil {
		return
	}
	gap = append(gap, '\n')
	if _, err := b.file.WriteAt(append(gap, end...), b.keep); err != nil {
		return
	}
	b.head = b.keep + int64(len(gap))
	b.size = b.head + int64(len(end))
	_ = b.file.Truncate(b.size)
	_, _ = b.file.Seek(b.size, io.SeekStart)
}
