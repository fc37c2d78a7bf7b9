// Package object opens what data is read from: files of this machine and, by the same few methods, the objects of stores.
// Readers of shards and tables use it, so that none of them knows where its bytes lie.
package object

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/files"
)

// Object is a file or an object that can be read at any place, from several goroutines.
type Object interface {
	io.ReaderAt
	io.Closer
	// Name returns the name that the object was opened by.
	Name() string
	// Size returns the length in bytes.
	Size() int64
	// Version returns a text that changes when the content does: of a file its size and its time of modification, of an
	// object its ETag.
	Version() string
}

// Options configures a Store.
type Options struct {
	// CacheDir holds what was read from other machines; "" for none.
	CacheDir string
	// CacheBytes bounds it.
	CacheBytes int64
}

// Store opens objects by their names: paths, and addresses (https://, s3://).
type Store struct {
	o Options
}

// New returns a Store. What it waits for ends with ctx.
func New(ctx context.Context, o Options) (*Store, error) { return &Store{o: o}, nil }

// Close frees what the Store holds. Objects are closed by themselves.
func (s *Store) Close() error { return nil }

// IsAddress reports whether a name is an address rather than a path.
func IsAddress(name string) bool { return strings.Contains(name, "://") }

// Open opens an object. What is not there yields fault.NotFound with the name.
func (s *Store) Open(ctx context.Context, name string) (Object, error) {
	if IsAddress(name) {
		return nil, fault.New(fault.Unavailable, "%s: addresses are not read yet", name)
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, files.Error(name, err)
	}
	return &local{File: f, size: info.Size(), version: fmt.Sprint(files.StampOf(info))}, nil
}

// List returns the names that a pattern stands for, in a fixed order: the brace ranges of {000..099} are expanded, then the
// *, ? and [] of each, whose names are sorted. A path without any of them stands for itself, whether it is there or not. A
// glob that matches nothing yields fault.NotFound.
func (s *Store) List(ctx context.Context, pattern string) ([]string, error) {
	var out []string
	for _, name := range Braces(pattern) {
		if IsAddress(name) || !strings.ContainsAny(name, "*?[") {
			out = append(out, name)
			continue
		}
		found, err := filepath.Glob(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%q is no pattern: %w", name, err)
		}
		if len(found) == 0 {
			return nil, fault.New(fault.NotFound, "no file matches %s", name)
		}
		slices.Sort(found)
		out = append(out, found...)
	}
	return out, nil
}

type local struct {
	*os.File
	size    int64
	version string
}

func (l *local) Size() int64     { return l.size }
func (l *local) Version() string { return l.version }
