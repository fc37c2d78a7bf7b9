package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"tandem/core/data/build/ledger"
	"tandem/core/data/fetch"
	"tandem/core/fault"
)

// folder is a tree of pages with their pictures. Nothing outside of it is read, whatever its pages and links say.
type folder struct {
	root    *os.Root
	dir     string
	id      int
	base    *url.URL // of the pages' addresses, ends with /
	pages   []string // paths, in order
	digest  string
	respect bool
}

func openFolder(ctx context.Context, dir string, id int, host, base string, respect bool) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, pathError(dir, err)
	}
	f := &folder{root: root, dir: dir, id: id, respect: respect, base: &url.URL{Scheme: "folder", Host: host, Path: "/"}}
	if base != "" {
		if f.base, err = url.Parse(strings.TrimSuffix(base, "/") + "/"); err != nil {
			root.Close()
			return nil, fault.New(fault.Invalid, "%w", err)
		}
	}
	if err := f.list(ctx); err != nil {
		root.Close()
		return nil, err
	}
	return f, nil
}

func pathError(name string, err error) error {
	kind := fault.Unavailable
	if errors.Is(err, fs.ErrNotExist) {
		kind = fault.NotFound
	}
	var e *fs.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	return fault.New(kind, "%w", err).WithFile(name, 0, 0)
}

// list finds the pages, and a digest of all files' names, sizes and times.
func (f *folder) list(ctx context.Context) error {
	h, n := sha256.New(), 0
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e := ctx.Err(); e != nil {
			return fault.New(fault.Canceled, "%w", e)
		}
		if d.IsDir() || !d.Type().IsRegular() && d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		if n++; n > maxFiles {
			return fault.New(fault.Exhausted, "%s has more than %d files", f.dir, maxFiles)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		switch strings.ToLower(path.Ext(name)) {
		case ".html", ".htm", ".xhtml":
			f.pages = append(f.pages, name)
		}
		return nil
	})
	if err != nil {
		var known *fault.Error
		if errors.As(err, &known) {
			return err
		}
		return pathError(f.dir, err)
	}
	f.digest = hex.EncodeToString(h.Sum(nil))
	return nil
}

func (f *folder) name() string  { return filepath.Base(f.dir) }
func (f *folder) stamp() string { return f.digest }
func (f *folder) size() int64   { return int64(len(f.pages)) }
func (f *folder) close() error  { return f.root.Close() }

// address returns that of a file of the folder.
func (f *folder) address(name string) string {
	return f.base.JoinPath(strings.Split(name, "/")...).String()
}

func (f *folder) read(ctx context.Context, is ledger.Source, emit func(func() finding) error) error {
	for i, name := range f.pages {
		if err := ctx.Err(); err != nil {
			return fault.New(fault.Canceled, "%w", err)
		}
		if i < is.Documents {
			continue
		}
		if err := emit(func() finding {
			data, err := readIn(f.root, name, maxPage)
			if err != nil {
				return finding{at: int64(i + 1), skips: []skip{{"pages", fault.ReasonOf(err), 1, name}}}
			}
			page := pageOf(data, "", f.address(name), fetch.Rights{}, f.respect)
			page.at = int64(i + 1)
			return page
		}); err != nil {
			return err
		}
	}
	return nil
}

// find returns the file that an address of the folder stands for.
func (f *folder) find(address string) (at ledger.Place, known bool, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != f.base.Scheme || u.Host != f.base.Host {
		return at, false, nil
	}
	name, under := strings.CutPrefix(path.Clean(u.Path), strings.TrimSuffix(f.base.Path, "/")+"/")
	if !under {
		return at, false, nil
	}
	info, err := f.root.Stat(name)
	switch {
	case err != nil && strings.Contains(err.Error(), "escapes"):
		return at, true, fault.New(fault.Invalid, "%s leads out of the folder", name).WithReason("outside the folder")
	case err != nil || !info.Mode().IsRegular():
		return at, true, fault.New(fault.NotFound, "there is no file %s", name).WithReason("missing picture")
	}
	return ledger.Place{Kind: "folder", Source: f.id, Path: name}, true, nil
}

func (f *folder) open(_ context.Context, at ledger.Place) ([]byte, error) {
	return readIn(f.root, at.Path, maxPicture)
}

// readIn reads a file of at most limit bytes that lies in a folder, links included.
func readIn(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "%s is no regular file", name).WithReason("no regular file")
	}
	var file *os.File
	if err == nil {
		file, err = root.Open(name)
	}
	if err != nil {
		if strings.Contains(err.Error(), "escapes") {
			return nil, fault.New(fault.Invalid, "%s leads out of the folder", name).WithReason("outside the folder")
		}
		return nil, fault.New(fault.NotFound, "%w", err).WithReason("missing picture")
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Unavailable, "%w", err)
	case int64(len(data)) > limit:
		return nil, fault.New(fault.Exhausted, "%s has more than %d bytes", name, limit).WithReason("too many bytes")
	}
	return data, nil
}
