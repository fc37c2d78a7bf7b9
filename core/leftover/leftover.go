// Package leftover makes temporary files and folders that whoever comes next takes away when the process that made them
// was killed. A lock tells the living from the dead: the system drops it with the process, however that ends.
package leftover

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// young is how long a file or folder is left alone: its maker may be about to lock it.
const young = 2 * time.Second

// File makes a file in dir whose name begins with prefix and ends with suffix, and removes those of such names there
// whose makers are gone. Closing it, or renaming it, ends the bond.
func File(dir, prefix, suffix string) (*os.File, error) {
	sweep(dir, prefix, suffix)
	f, err := os.CreateTemp(dir, prefix+"*"+suffix)
	if err != nil {
		return nil, err
	}
	lock(f)
	return f, nil
}

// Dir makes a folder for temporary files whose name begins with prefix, and removes those of such names whose makers are
// gone. release removes it.
func Dir(prefix string) (path string, release func(), err error) {
	sweep(os.TempDir(), prefix, "")
	path, err = os.MkdirTemp("", prefix)
	if err != nil {
		return "", nil, err
	}
	held, err := os.Open(path)
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(path))
	}
	lock(held)
	return path, func() {
		os.RemoveAll(path)
		held.Close()
	}, nil
}

// lock takes a lock that ends with the process. Where the file system has none, nothing is swept either.
func lock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// sweep removes what the dead have left, as far as that can be told; what is another user's stays.
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
	if err != nil || !(info.IsDir() || info.Mode().IsRegular()) || time.Since(info.ModTime()) < young {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return
	}
	if lock(f) {
		os.RemoveAll(path)
	}
}
