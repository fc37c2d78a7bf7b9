package main

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"tandem/core/fault"
)

// unpack puts the wanted files of a wheel or a deb below a folder.
func unpack(ctx context.Context, archive, folder string, files []string) error {
	if strings.HasSuffix(archive, ".deb") {
		return unpackDeb(ctx, archive, folder, files)
	}
	return unpackWheel(archive, folder, files)
}

// matchesAny reports whether the patterns take a path: one pattern is a path, a pattern of path.Match, or a folder
// with all below it. No pattern takes everything.
func matchesAny(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok || strings.HasPrefix(name, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return len(patterns) == 0
}

func unpackWheel(archive, folder string, files []string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return fault.New(fault.Corrupt, "%s: %w", archive, err)
	}
	defer r.Close()
	root, err := os.OpenRoot(folder) // a path that leaves it is an error
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") || !matchesAny(f.Name, files) {
			continue
		}
		if err := unpackFile(root, f); err != nil {
			return fault.New(fault.Corrupt, "%s: %s: %w", archive, f.Name, err)
		}
	}
	return nil
}

func unpackFile(root *os.Root, f *zip.File) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if dir := path.Dir(f.Name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	out, err := root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|f.Mode().Perm()&0o111)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// unpackDeb leaves the format, ar with tar in xz or zstd, to dpkg-deb.
func unpackDeb(ctx context.Context, archive, folder string, files []string) error {
	said, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", archive, folder).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fault.New(fault.Unavailable, "%s needs dpkg-deb", filepath.Base(archive)).WithHint("this part is for Debian and Ubuntu")
	}
	if err != nil {
		return fault.New(fault.Corrupt, "dpkg-deb %s: %w", archive, err).WithDetail(string(said))
	}
	if len(files) == 0 {
		return nil
	}
	return filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		inside, err := filepath.Rel(folder, name)
		if err != nil || matchesAny(filepath.ToSlash(inside), files) {
			return err
		}
		return os.Remove(name)
	})
}
