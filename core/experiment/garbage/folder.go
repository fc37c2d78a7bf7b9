package garbage

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/core/experiment/lab"
)

// isUsed reports whether one of the weights that specs name may be the folder dir of a run, or lie in it. Specs name weights
// relative to where the runner was, through links and by paths of other machines, so a path that holds the folder's
// name under its parent's counts too.
func isUsed(weights []string, run, dir string) bool {
	inside := ""
	if name := filepath.Base(dir); name != run {
		inside = name
	}
	return slices.ContainsFunc(weights, func(path string) bool {
		parts := strings.Split(filepath.ToSlash(filepath.Clean(path)), "/")
		if i := slices.Index(parts, run); i >= 0 && (inside == "" || !namesCheckpoint(parts[i:]) || slices.Contains(parts[i:], inside)) {
			return true
		}
		resolved, err := filepath.EvalSymlinks(path)
		return liesIn(path, dir) || err == nil && liesIn(resolved, dir)
	})
}

// liesIn reports whether a path is a folder or lies in it.
func liesIn(path, dir string) bool {
	for path != "" && path != "." && path != string(filepath.Separator) {
		if sameFile(path, dir) {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}

// namesCheckpoint reports whether a path below a run's folder says which checkpoint it is about.
func namesCheckpoint(parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(p, "step-") })
}

// sameFile reports whether two paths are one file or folder, whatever they are called.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// looksLikeRun reports whether a folder holds what a run's does and nothing else.
func looksLikeRun(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	spec := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lab.SpecFile && !e.IsDir():
			spec = true
		case (name == lab.LogsDir || name == lab.HandoverDir) && e.IsDir(), strings.HasPrefix(name, "step-") && e.IsDir(), name == goingFile:
		case (name == lab.CheckpointsDir || name == lab.EvaluationsDir) && e.IsDir() && onlyCheckpoints(filepath.Join(dir, name)):
		default:
			return false
		}
	}
	return spec
}

func onlyCheckpoints(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !e.IsDir() || !strings.HasPrefix(e.Name(), "step-")
	})
}

// lastChange returns when a folder, or what lies directly in it, in its logs or in its checkpoints, was last changed.
func lastChange(dir string) time.Time {
	var latest time.Time
	for _, in := range []string{dir, filepath.Join(dir, lab.LogsDir), filepath.Join(dir, lab.CheckpointsDir)} {
		paths := []string{in}
		entries, _ := os.ReadDir(in)
		for _, e := range entries {
			paths = append(paths, filepath.Join(in, e.Name()))
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.ModTime().After(latest) {
				latest = info.ModTime()
			}
		}
	}
	return latest
}

// folderSize adds up the bytes of all regular files below a folder.
func folderSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read counts nothing
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}
