package block

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tandem/core/fault"
)

// A file of the folder holds a block and, behind it, a mark and a checksum. The files are not synced to the disk: what a crash of
// the machine spoils is found by its checksum, and fetched again. A block on its way has its name with partSuffix. Whoever holds a
// lock on that file fetches it; the system drops the lock with the process.
const (
	partSuffix = ".part"
	mark       = "tdmB"
	footer     = int64(len(mark) + 4)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// lockPoll is the pause between two looks at a lock of another process.
const lockPoll = 20 * time.Millisecond

func (k Key) name() string {
	if k.Index < 0 {
		return k.Object + "-whole"
	}
	return fmt.Sprintf("%s-%06d", k.Object, k.Index)
}

// useless is why the folder cannot keep a block, which is then kept in memory.
type useless struct{ error }

func isUseless(err error) bool {
	_, ok := errors.AsType[useless](err)
	return ok
}

// fromFolder opens a block in the folder, and fetches it where it is not there.
func (c *Cache) fromFolder(ctx context.Context, key Key, size int64, fill Fill) (*Block, error) {
	path := c.path(key)
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, useless{err}
		}
		if b := c.openFile(key, path, size); b != nil {
			return b, nil
		}
		part, err := lockPart(ctx, path)
		if err != nil {
			return nil, err
		}
		if part == nil { // another has it, or has just finished
			continue
		}
		b, err := c.fetchInto(ctx, part, path, size, fill)
		if err != nil {
			os.Remove(part.Name()) // while it is locked
			part.Close()
			return nil, err
		}
		c.remember(key, part)
		return b, nil
	}
}

// openFile opens a whole file of the folder; nil when there is none.
func (c *Cache) openFile(key Key, path string, size int64) *Block {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil || size >= 0 && info.Size() != size+footer || info.Size() < footer || !c.isWhole(key, f, info) {
		f.Close()
		os.Remove(path)
		return nil
	}
	if now := time.Now(); now.Sub(info.ModTime()) > time.Minute { // which tells when it was used last
		os.Chtimes(path, now, now)
	}
	return newBlock(f, info.Size()-footer)
}

func newBlock(f *os.File, size int64) *Block {
	return &Block{ReaderAt: io.NewSectionReader(f, 0, size), size: size, close: f.Close, gone: func() bool {
		info, err := f.Stat()
		if err != nil {
			return true
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		return ok && s.Nlink == 0
	}}
}

// isWhole compares a file with its checksum, once.
func (c *Cache) isWhole(key Key, f *os.File, info fs.FileInfo) bool {
	c.mu.Lock()
	known := c.verified[key]
	c.mu.Unlock()
	if known != 0 && known == inode(info) {
		return true
	}
	sum := crc32.New(castagnoli)
	size := info.Size() - footer
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
		return false
	}
	end := make([]byte, footer)
	if _, err := f.ReadAt(end, size); err != nil || string(end) != string(ending(sum)) {
		return false
	}
	c.remember(key, f)
	return true
}

func ending(sum hash.Hash32) []byte {
	return binary.LittleEndian.AppendUint32([]byte(mark), sum.Sum32())
}

func (c *Cache) remember(key Key, f *os.File) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	c.mu.Lock()
	c.verified[key] = inode(info)
	c.mu.Unlock()
}

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}

// lockPart takes the file of a block on its way. It returns nil when another process had it; the block may be there then.
func lockPart(ctx context.Context, path string) (*os.File, error) {
	name := path + partSuffix
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // its folder was taken away
			return nil, nil
		}
		return nil, useless{err}
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		f.Close()
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Canceled, "%w", context.Cause(ctx))
		case <-time.After(lockPoll):
			return nil, nil
		}
	}
	if err != nil {
		f.Close()
		return nil, useless{err}
	}
	if !isAt(f, name) { // its last holder made a block of it, or took it away
		f.Close()
		return nil, nil
	}
	if _, err := os.Stat(path); err == nil {
		os.Remove(name)
		f.Close()
		return nil, nil
	}
	return f, nil
}

func isAt(f *os.File, name string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(mine, there)
}

// fetchInto fills the file of a block on its way and gives it its name. It stays open as the block's file.
func (c *Cache) fetchInto(ctx context.Context, part *os.File, path string, size int64, fill Fill) (*Block, error) {
	if err := part.Truncate(0); err != nil { // what a process left that was killed
		return nil, useless{err}
	}
	w := &quota{c: c, ctx: ctx, f: part, sum: crc32.New(castagnoli)}
	if err := w.reserve(max(size, 0) + footer); err != nil {
		return nil, err
	}
	if err := fill(ctx, w); err != nil || w.err != nil {
		return nil, cmp.Or(w.err, err)
	}
	_, err := part.WriteAt(ending(w.sum), w.written)
	if err == nil {
		err = part.Truncate(w.written + footer)
	}
	if err != nil {
		return nil, useless{err}
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return nil, useless{err}
	}
	syscall.Flock(int(part.Fd()), syscall.LOCK_UN)
	return newBlock(part, w.written), nil
}

// quota writes a block's file within the bound of the folder.
type quota struct {
	c                 *Cache
	ctx               context.Context
	f                 *os.File
	sum               hash.Hash32
	written, reserved int64
	err               error // why it cannot write
}

// quotaStep is how much more is reserved for an object of unknown length.
const quotaStep = 8 << 20

func (w *quota) reserve(n int64) error {
	if err := w.c.reserve(w.ctx, n, func() error { return w.f.Truncate(w.reserved + n) }); err != nil {
		return err
	}
	w.reserved += n
	return nil
}

func (w *quota) Write(p []byte) (int, error) {
	if w.written+int64(len(p))+footer > w.reserved {
		if w.err = w.reserve(max(quotaStep, int64(len(p)))); w.err != nil {
			return 0, w.err
		}
	}
	n, err := w.f.WriteAt(p, w.written)
	w.sum.Write(p[:n])
	w.written += int64(n)
	if err != nil {
		w.err = useless{err}
	}
	return n, w.err
}
