package process

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	socketPrefix = "tandem-"
	tempPrefix   = "temp" // of a guarded plugin's folder for temporary files, below a session's
)

// socketDir matches the names that makeSocketDir gives.
var socketDir = regexp.MustCompile(`^` + socketPrefix + `[0-9]+$`)

// makeSocketDir makes a folder for sockets and holds it as long as this process lives.
func makeSocketDir(root string) (dir string, held *os.File, err error) {
	if dir, err = os.MkdirTemp(root, socketPrefix); err != nil {
		return "", nil, err
	}
	if held, err = os.Open(dir); err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	hold(held) // where that does not work nobody sweeps
	return dir, held, nil
}

// freshFor says how long a new folder counts as still being made.
const freshFor = time.Minute

// sweepSockets removes the folders of runners that were killed. Such a folder holds nothing but sockets that
// nobody answers, and no process holds it.
func sweepSockets(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !socketDir.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(root, e.Name())
		if isDead(dir) {
			_ = os.RemoveAll(dir)
		}
	}
}

func isDead(dir string) bool {
	stat, err := os.Lstat(dir)
	if err != nil || time.Since(stat.ModTime()) < freshFor {
		return false
	}
	if x, ok := stat.Sys().(*syscall.Stat_t); ok && int(x.Uid) != os.Getuid() {
		return false
	}
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	if !hold(f) {
		return false
	}
	dead := true
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			dead = false
		case d.IsDir() && filepath.Dir(path) == dir && strings.HasPrefix(d.Name(), tempPrefix):
			return filepath.SkipDir // a plugin's own
		case d.IsDir():
			if path != dir && !strings.HasPrefix(d.Name(), "plugin-dir") && !strings.HasPrefix(d.Name(), "exec") {
				dead = false
			}
		case d.Type() == os.ModeSymlink && strings.HasPrefix(filepath.Base(filepath.Dir(path)), "exec"):
		case d.Type() != os.ModeSocket || isAnswered(path):
			dead = false
		}
		if !dead {
			return filepath.SkipAll
		}
		return nil
	})
	return dead
}

// isAnswered reports whether somebody listens at a socket.
func isAnswered(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil || !errors.Is(err, syscall.ECONNREFUSED)
}

// hold keeps a folder as this process's until the process ends, however it does. It returns false when another
// process has the folder.
func hold(dir *os.File) bool {
	return syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
