package block

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tandem/core/fault"
)

// lockName holds the number of bytes in the folder, as text, and is locked by whoever changes it. The number may be too high
// when a process was killed; it is counted again when it reaches the bound.
const lockName = "size"

// reserve makes room for n bytes more, and takes away what was not used for longest. grow makes a file so much longer, before
// another counts the folder.
func (c *Cache) reserve(ctx context.Context, n int64, grow func() error) error {
	if n > c.o.Bytes {
		return useless{fault.New(fault.Exhausted, "%d bytes are more than the %d that it may hold (cache_size)", n, c.o.Bytes)}
	}
	f, err := os.OpenFile(filepath.Join(c.o.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return useless{err}
	}
	defer f.Close() // which ends the lock
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return useless{err}
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Canceled, "%w", context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	text := make([]byte, 32)
	k, _ := f.ReadAt(text, 0)
	total, err := strconv.ParseInt(strings.TrimSpace(string(text[:k])), 10, 64)
	if err != nil || total < 0 {
		total = c.o.Bytes // it is counted
	}
	if total+n > c.o.Bytes {
		total = c.evict(c.o.Bytes - n)
	}
	if total+n > c.o.Bytes {
		return useless{fault.New(fault.Exhausted, "its %d bytes are all in use", c.o.Bytes)}
	}
	line := strconv.FormatInt(total+n, 10)
	if _, err = f.WriteAt([]byte(line+strings.Repeat(" ", len(text)-len(line))), 0); err == nil {
		err = grow()
	}
	if err != nil {
		return useless{err}
	}
	return nil
}

// spare is the share of the bound that an eviction leaves free, so that the next one is not due at once: a 16th.
const spare = 16

// evict removes files until the others hold at most so many bytes, and returns what they hold.
func (c *Cache) evict(most int64) (total int64) {
	type file struct {
		path string
		used time.Time
		size int64
	}
	var files []file
	filepath.WalkDir(c.o.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockName {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if strings.HasSuffix(path, partSuffix) {
			if removeDead(path) {
				return nil
			}
			total += info.Size()
			return nil
		}
		total += info.Size()
		files = append(files, file{path, info.ModTime(), info.Size()})
		return nil
	})
	if total <= most {
		return total
	}
	most = max(0, most-c.o.Bytes/spare)
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= most {
			break
		}
		if err := os.Remove(f.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			total -= f.size
			os.Remove(filepath.Dir(f.path)) // if it is empty
		}
	}
	return total
}

// removeDead removes the file of a block on its way whose process is gone.
func removeDead(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && isAt(f, path) && os.Remove(path) == nil
}
