package kept

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// look reads the lists of segments of the store's kind that it does not know yet. A segment that cannot be read is passed
// over: its blobs are made again.
func (s *Store) look() error {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		name := e.Name()
		if !strings.HasSuffix(name, suffix) || s.known[name] != nil {
			continue
		}
		f, err := os.Open(filepath.Join(s.dir, name))
		if err != nil {
			continue
		}
		g := &segment{file: f}
		if head := make([]byte, headBytes); !readFull(f, head, 0) || string(head[:16]) != magic || !bytes.Equal(head[16:], s.kind[:]) || !s.read(g) {
			f.Close()
			continue
		}
		s.known[name] = g
	}
	return nil
}

func readFull(f *os.File, b []byte, at int64) bool {
	n, _ := f.ReadAt(b, at)
	return n == len(b)
}

// read adds the records of a segment to the index: by its list, or one after the other where there is none, as its writer
// was killed or is at work.
func (s *Store) read(g *segment) bool {
	info, err := g.file.Stat()
	if err != nil {
		return false
	}
	end := info.Size()
	add := func(key Key, p place) {
		if _, known := s.index[key]; !known {
			s.index[key] = p
		}
	}
	tail := make([]byte, tailBytes)
	if end >= headBytes+tailBytes && readFull(g.file, tail, end-tailBytes) && string(tail[8:]) == tailMagic {
		n := int64(binary.LittleEndian.Uint32(tail[4:]))
		if list := n * entryBytes; list <= end-headBytes-tailBytes {
			entries := make([]byte, list)
			if readFull(g.file, entries, end-tailBytes-list) && crc32.Checksum(entries, castagnoli) == binary.LittleEndian.Uint32(tail) {
				for ; len(entries) > 0; entries = entries[entryBytes:] {
					offset, length := int64(binary.LittleEndian.Uint64(entries[16:])), binary.LittleEndian.Uint32(entries[24:])
					if offset >= headBytes+recordBytes && offset+int64(length) <= end {
						add(Key(entries[:16]), place{g, offset, length, binary.LittleEndian.Uint32(entries[28:])})
					}
				}
				return true
			}
		}
	}
	record := make([]byte, recordBytes)
	for at := int64(headBytes); at+recordBytes <= end && readFull(g.file, record, at) && string(record[:4]) == recordMagic; {
		length := binary.LittleEndian.Uint32(record[4:])
		if at += recordBytes; at+int64(length) > end {
			break // cut off; its checksum would tell too
		}
		add(Key(record[8:24]), place{g, at, length, binary.LittleEndian.Uint32(record[24:])})
		at += int64(length)
	}
	return true
}

// makeRoom takes segments away that no process uses, the longest unused first, until another one fits. Segments of all kinds
// count, those being written with all that they may become.
func (s *Store) makeRoom() bool {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return false
	}
	type found struct {
		name string
		size int64
		used time.Time
	}
	var all []found
	total := s.segmentBytes()
	for _, e := range names {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		size := info.Size()
		if s.beingWritten(e.Name()) {
			size = max(size, s.segmentBytes())
		}
		total += size
		all = append(all, found{e.Name(), size, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name)) })
	for _, f := range all {
		if total <= s.max {
			break
		}
		if s.takeAway(f.name) {
			total -= f.size
		}
	}
	return total <= s.max
}

// beingWritten reports whether another process writes a segment.
func (s *Store) beingWritten(name string) bool {
	if g := s.known[name]; g != nil && g.locked {
		return false // its lock could not be shared with a writer's
	}
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// takeAway removes a segment unless a process uses it.
func (s *Store) takeAway(name string) bool {
	path := filepath.Join(s.dir, name)
	if g := s.known[name]; g != nil {
		if g.locked || unix.Flock(int(g.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || os.Remove(path) != nil {
			return false
		}
		for key, p := range s.index {
			if p.in == g {
				delete(s.index, key)
			}
		}
		delete(s.known, name)
		// The file stays open, since a Get may be reading from it; it is closed when nobody refers to it any more.
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && os.Remove(path) == nil
}
