// Package kept keeps blobs by key in files of a folder, for those who would have to compute them again: several processes
// share it, what it holds is bounded in bytes, and what a killed process leaves is either whole or not there.
//
// A folder holds segments. Each is written by one process from the beginning to the end, and holds records:
//
//	"kept" | length u32 | key [16] | CRC-32C of key and blob u32 | blob
//
// A segment that was closed ends with the list of its records, so that opening need not walk through them. A segment belongs
// to a kind, named in its head; whoever opens a store reads the lists of its own kind alone.
//
// Nothing is overwritten. When there is no room for another segment, whole ones go that no process uses, those first that
// were used longest ago; when all are in use, nothing more is kept. Removing the folder is always safe.
package kept

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tandem/core/fault"
)

// Key identifies a blob.
type Key [16]byte

// KeyOf returns the key for texts that determine a blob.
func KeyOf(texts ...string) Key {
	h := sha256.New()
	for _, t := range texts {
		binary.Write(h, binary.LittleEndian, int64(len(t)))
		h.Write([]byte(t))
	}
	return Key(h.Sum(nil)[:16])
}

const (
	headBytes   = 32 // of a segment: magic and kind
	recordBytes = 28 // before a blob
	entryBytes  = 32 // of a record in the list at a segment's end
	tailBytes   = 16 // after that list: its checksum, the number of its entries, magic
	magic       = "tandem kept 1\n\x00\x00"
	recordMagic = "kept"
	tailMagic   = "sealed\n\x00"
	suffix      = ".kept"

	// most bounds the length of a segment.
	most = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store keeps blobs. Its methods may be called from several goroutines.
type Store struct {
	dir  string
	kind [16]byte
	max  int64

	mu      sync.Mutex
	index   map[Key]place
	known   map[string]*segment // by name; those of the kind
	own     *segment            // being written; nil for none
	entries []byte              // its list
	size    int64               // bytes written to it
	full    bool
	broken  error // why nothing more is kept
}

type place struct {
	in     *segment
	offset int64 // of the blob
	length uint32
	sum    uint32
}

type segment struct {
	file   *os.File
	locked bool // against being taken away
}

// Open opens the store in a folder, which it makes, for the blobs of one kind. max bounds the bytes of all kinds together.
func Open(dir, kind string, max int64) (*Store, error) {
	if max < 1<<20 {
		return nil, fault.New(fault.Invalid, "%d bytes are too few to keep anything in", max).WithHint("1 MiB at least")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	sum := sha256.Sum256([]byte(kind))
	s := &Store{dir: dir, kind: [16]byte(sum[:16]), max: max, index: map[Key]place{}, known: map[string]*segment{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.look()
}

// Len returns the number of blobs that Get finds.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index)
}

// Full reports whether Put has kept nothing for want of room, or because the folder cannot be written to; then why says so.
func (s *Store) Full() (full bool, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.broken
}

// Get returns the blob of a key, in buf if it is large enough, or false. A blob that is damaged on the disk is not found.
func (s *Store) Get(key Key, buf []byte) ([]byte, bool) {
	s.mu.Lock()
	p, ok := s.index[key]
	if ok && !p.in.locked && p.in != s.own {
		p.in.locked = unix.Flock(int(p.in.file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil // its writer's lock serves as well
		now := time.Now()
		_ = os.Chtimes(p.in.file.Name(), now, now) // says that it is in use; another process may have taken it away
	}
	s.mu.Unlock()
	if !ok {
		return nil, false
	}
	if cap(buf) < int(p.length) {
		buf = make([]byte, p.length)
	}
	buf = buf[:p.length]
	if _, err := p.in.file.ReadAt(buf, p.offset); err != nil || checksum(key, buf) != p.sum {
		s.mu.Lock()
		delete(s.index, key)
		s.mu.Unlock()
		return nil, false
	}
	return buf, true
}

func checksum(key Key, blob []byte) uint32 {
	return crc32.Update(crc32.Checksum(key[:], castagnoli), castagnoli, blob)
}

// Put keeps a blob and reports whether it did. It is no error when there is no room.
func (s *Store) Put(key Key, blob []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.index[key]; ok {
		return true
	}
	if s.full || int64(len(blob)) > s.segmentBytes()-headBytes-recordBytes-entryBytes-tailBytes {
		return false
	}
	need := int64(recordBytes + len(blob))
	if s.own != nil && s.size+need+int64(len(s.entries))+entryBytes+tailBytes > s.segmentBytes() {
		s.seal()
	}
	if s.own == nil && !s.begin() {
		return false
	}
	record := make([]byte, recordBytes, need)
	copy(record, recordMagic)
	binary.LittleEndian.PutUint32(record[4:], uint32(len(blob)))
	copy(record[8:], key[:])
	sum := checksum(key, blob)
	binary.LittleEndian.PutUint32(record[24:], sum)
	if _, err := s.own.file.WriteAt(append(record, blob...), s.size); err != nil {
		s.stop(err)
		return false
	}
	p := place{s.own, s.size + recordBytes, uint32(len(blob)), sum}
	s.index[key] = p
	s.entries = append(s.entries, entry(key, p)...)
	s.size += need
	return true
}

// entry returns a record's line in the list of its segment.
func entry(key Key, p place) []byte {
	b := append(make([]byte, 0, entryBytes), key[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
	b = binary.LittleEndian.AppendUint32(b, p.length)
	return binary.LittleEndian.AppendUint32(b, p.sum)
}

// segmentBytes returns the most bytes of a segment: a sixteenth of all, so that taking one away leaves the rest.
func (s *Store) segmentBytes() int64 { return min(most, max(s.max/16, 64<<10)) }

// stop gives keeping up, as after a full disk.
func (s *Store) stop(err error) {
	s.full, s.broken = true, fault.New(fault.Exhausted, "%w", err)
	s.seal()
}

// seal ends the segment being written with the list of its records.
func (s *Store) seal() {
	if s.own == nil {
		return
	}
	tail := binary.LittleEndian.AppendUint32(s.entries, crc32.Checksum(s.entries, castagnoli))
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(s.entries)/entryBytes))
	_, err := s.own.file.WriteAt(append(tail, tailMagic...), s.size)
	if err == nil && len(s.entries) > 0 {
		s.own.locked = unix.Flock(int(s.own.file.Fd()), unix.LOCK_SH) == nil
	}
	s.own, s.entries, s.size = nil, nil, 0
}

// begin starts a segment, after making room for it. It holds the folder's lock meanwhile, so that the bound is one for all
// processes.
func (s *Store) begin() bool {
	unlock, err := s.lock()
	if err != nil {
		s.stop(err)
		return false
	}
	defer unlock()
	if err := s.look(); err != nil { // what others have kept meanwhile
		s.stop(err)
		return false
	}
	if !s.makeRoom() {
		s.full = true
		return false
	}
	f, err := os.CreateTemp(s.dir, hex.EncodeToString(s.kind[:4])+"-*"+suffix)
	if err != nil {
		s.stop(err)
		return false
	}
	head := append([]byte(magic), s.kind[:]...)
	if _, err = f.WriteAt(head, 0); err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		s.stop(err)
		return false
	}
	s.own, s.size, s.entries = &segment{file: f, locked: true}, headBytes, nil
	s.known[filepath.Base(f.Name())] = s.own
	return true
}

// lock takes the folder's lock.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Close ends what is being written and frees everything.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seal()
	for _, g := range s.known {
		g.file.Close()
	}
	s.index, s.known, s.full = nil, nil, true
}
