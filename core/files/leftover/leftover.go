// Package leftover makes temporary files and folders. When the process that made them was killed, the next process
// that makes such files removes them. A lock shows that a maker is alive: the system drops the lock with the process,
// however that ends.
package leftover

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// File makes a file in dir whose name begins with prefix and ends with suffix. It removes files with such names
// whose makers are gone. The file is the maker's until it is closed: rename it before that.
func File(dir, prefix, suffix string) (*os.File, error) {
	sweep(dir, prefix, suffix)
	for {
		f, err := os.CreateTemp(dir, prefix+"*"+suffix)
		if err != nil || hold(f) {
			return f, err
		}
		f.Close()
	}
}

// Replace writes the file at path whole or not at all: write fills a temporary neighbour, which is synced to the disk and takes
// the place of path. It returns the file's size. After an error the old content is there, and nothing beside it.
func Replace(path string, write func(*os.File) error) (size int64, err error) {
	base := filepath.Base(path)
	f, err := File(filepath.Dir(path), "."+base+"-", ".tmp")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
		f.Close()
	}()
	if err := write(f); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return 0, err
	}
	if err := f.Chmod(0o644); err != nil { // a temporary file is its maker's alone
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil { // while it is open and so held: see File
		return 0, err
	}
	return size, nil
}

// Dir makes a folder for temporary files whose name begins with prefix. It removes folders with such names
// whose makers are gone. release removes the new one.
func Dir(prefix string) (path string, release func(), err error) {
	sweep(os.TempDir(), prefix, "")
	for {
		path, err = os.MkdirTemp("", prefix)
		if err != nil {
			return "", nil, err
		}
		held, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, errors.Join(err, os.Remove(path))
		}
		if hold(held) {
			return path, func() {
				os.RemoveAll(path)
				held.Close()
			}, nil
		}
		held.Close()
	}
}

// hold locks what was just made. It returns false when the sweep of another process was faster.
func hold(f *os.File) bool {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false
	}
	now, err := os.Lstat(f.Name())
	made, e := f.Stat()
	return !errors.Is(err, os.ErrNotExist) && (err != nil || e != nil || os.SameFile(made, now))
}

// sweep removes what dead processes have left, as far as that can be told. Files of other users stay.
func sweep(dir, prefix, suffix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) && (e.IsDir() || e.Type().IsRegular()) {
			removeDead(filepath.Join(dir, name))
		}
	}
}

func removeDead(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !(info.IsDir() || info.Mode().IsRegular()) {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return
	}
	// Where the file system has no locks nothing is removed.
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		os.RemoveAll(path)
	}
}
