package process

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// defaultLog bounds a log in bytes. It keeps its beginning, which says how the plugin began, a fifth, and its end, which
// says how it ended.
const defaultLog = 5 << 20

// logFile keeps the beginning and the end of a plugin's log, however much the plugin writes.
type logFile struct {
	mu     sync.Mutex
	file   *os.File
	first  int64 // bytes of the beginning to keep
	last   int64 // bytes of the end to keep; up to twice as many are there
	size   int64
	head   int64 // bytes of the beginning that stay, with the line that says what was left out; 0: nothing was yet
	left   int64 // bytes left out
	closed bool
}

// openLog opens a log of at most limit bytes to append to it.
func openLog(path string, limit int64) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &logFile{file: file, size: size, first: limit / 5, last: 2 * (limit / 5)}, nil
}

// Write appends, and cuts out the middle when there is too much.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	n, err := l.file.Write(p)
	if l.size += int64(n); l.size > l.first+2*l.last {
		l.shorten()
	}
	return n, err
}

// shorten keeps the beginning and the end. When that fails the log stays longer than it should be until the
// next time.
func (l *logFile) shorten() {
	end := make([]byte, l.last)
	if _, err := l.file.ReadAt(end, l.size-l.last); err != nil {
		return
	}
	l.left += l.size - l.last - max(l.head, l.first)
	line := fmt.Sprintf("\n… %d bytes were left out here …\n", l.left)
	if _, err := l.file.WriteAt(append([]byte(line), end...), l.first); err != nil {
		return
	}
	l.head, l.size = l.first+int64(len(line)), l.first+int64(len(line))+l.last
	_ = l.file.Truncate(l.size)
	_, _ = l.file.Seek(l.size, io.SeekStart)
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.file.Close()
}
