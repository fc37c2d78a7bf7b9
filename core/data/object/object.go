// Package object opens what data is read from: files of this machine and, by the same few methods, the objects of stores.
// Readers of shards and tables use it, so that none of them knows where its bytes lie.
//
// A dataset embeds Settings in its config and opens its Store in one call:
//
//	type Config struct {
//		Shards []string `with:"shards" type:"source" help:"…"`
//		object.Settings
//	}
//	var Defaults = Config{Settings: object.DefaultSettings}
//
//	store, err := cfg.Settings.Open(c) // c is the clip.DatasetConfig; Close it with the dataset
//	names, err := store.List(ctx, cfg.Shards[0])
//	o, err := store.Open(ctx, names[0])
//	n, err := object.ReadAt(ctx, o, piece, 512) // ends with ctx, unlike o.ReadAt, which ends with the Store alone
package object

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	// Patience bounds how long a store is waited for that does not answer; 0: 5 minutes.
	Patience time.Duration
}

// Store opens objects by their names: paths, and addresses (https://, s3://).
type Store struct {
	o Options
}

// New returns a Store. What it waits for ends with ctx: give it a context that lives as long as the Store.
func New(ctx context.Context, o Options) (*Store, error) { return &Store{o: o}, nil }

// Close ends what the Store waits for and frees what it holds. Objects are closed by themselves.
func (s *Store) Close() error { return nil }

// ReadAt reads from an object as its ReadAt does. It ends with ctx.
func ReadAt(ctx context.Context, o Object, p []byte, off int64) (int, error) {
	if r, ok := o.(interface {
		ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
	}); ok {
		return r.ReadAtContext(ctx, p, off)
	}
	return o.ReadAt(p, off)
}

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
