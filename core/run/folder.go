package run

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// checkpointFolders are the checkpoints in a run's folder, oldest first, and those that were being written.
func checkpointFolders(dir string) (whole, half []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil
	}
	for _, e := range entries {
		switch path := filepath.Join(dir, e.Name()); {
		case !e.IsDir() || !strings.HasPrefix(e.Name(), "step-"):
		case strings.HasSuffix(path, ".tmp"):
			half = append(half, path)
		default:
			whole = append(whole, path)
		}
	}
	return whole, half
}

// isUsed tells whether one of the weights that specs name is the folder dir or lies in it.
func isUsed(weights []string, dir string) bool {
	return slices.ContainsFunc(weights, func(path string) bool {
		path, err := filepath.Abs(path)
		return err == nil && (path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)))
	})
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// looksLikeRun tells whether a folder holds what a run's does and nothing else.
func looksLikeRun(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	spec := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "spec.yaml" && !e.IsDir():
			spec = true
		case name == "logs" && e.IsDir(), strings.HasPrefix(name, "step-") && e.IsDir():
		default:
			return false
		}
	}
	return spec
}

// lastChange is when a folder or what lies directly in it or its logs was changed.
func lastChange(dir string) time.Time {
	var latest time.Time
	for _, pattern := range []string{"", "*", "logs/*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.ModTime().After(latest) {
				latest = info.ModTime()
			}
		}
	}
	return latest
}

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
