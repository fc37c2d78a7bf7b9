package store

import (
	"encoding/binary"
	"io"
	"os"
	"syscall"
	"time"
)

// Mark tells one database file from another, and one content from another. Marks can be compared.
type Mark struct {
	device, inode uint64
	written       time.Time
	size          int64
	index         [indexHeader]byte // of the log, where there is something in it
}

// indexHeader is how many bytes of the shared memory beside a database every transaction changes, and lastFrame where among them the length
// of the log stands (sqlite.org/walformat.html, "The WAL-Index File Format"). The log itself is written before a transaction can be seen.
const (
	indexHeader = 48
	lastFrame   = 16
)

// MarkOf returns the mark of the database at path: another one after every transaction. It looks at files alone: nothing is locked, and no
// connection stays open for it, which would keep the log beside the file.
func MarkOf(path string) (m Mark) {
	info, err := os.Stat(path)
	if err != nil {
		return m
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		m.device, m.inode = uint64(s.Dev), s.Ino
	}
	m.written, m.size = info.ModTime(), info.Size()
	index, err := os.Open(path + "-shm")
	if err != nil {
		return m
	}
	defer index.Close()
	var header [indexHeader]byte
	if _, err := io.ReadFull(index, header[:]); err == nil && binary.NativeEndian.Uint32(header[lastFrame:]) > 0 {
		m.index = header
	}
	return m
}

// IsFile reports whether two marks are of one file, whatever is in it.
func (m Mark) IsFile(o Mark) bool { return m.device == o.device && m.inode == o.inode }
