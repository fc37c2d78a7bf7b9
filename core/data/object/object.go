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
	"sync"
	"time"

	"tandem/core/data/object/block"
	"tandem/core/data/object/remote"
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

// Store opens objects by their names: paths, and addresses (https://, http://, s3://).
type Store struct {
	o           Options
	ctx         context.Context
	cancel      context.CancelFunc
	client      *remote.Client
	cache       *block.Cache
	ahead       chan struct{} // a token for each block that is fetched ahead
	unversioned sync.Once
	known       sync.Map // address → remote.Info of what was opened
}

// New returns a Store. What it waits for ends with ctx: give it a context that lives as long as the Store.
func New(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, client: remote.New(remote.Options{Patience: o.Patience, Log: say}), ahead: make(chan struct{}, aheadMost)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.cache = block.New(s.ctx, block.Options{Dir: o.CacheDir, Bytes: o.CacheBytes, Warn: say})
	return s, nil
}

// Close ends what the Store waits for and frees what it holds. Objects are closed by themselves.
func (s *Store) Close() error {
	s.cancel()
	err := s.cache.Close()
	s.client.Close()
	return err
}

// Fetched returns how many bytes came from other machines, and not from the cache.
func (s *Store) Fetched() int64 { return s.cache.Fetched() }

// say writes a line to the plugin's log.
func say(text string) { fmt.Fprintln(os.Stderr, fault.PrintableLine(text)) }

// join returns a context that ends with ctx and with the Store.
func (s *Store) join(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

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

// IsWeb reports whether a name is an address that is not one of a store's. A table of pictures by such addresses is the beginning of a
// set, not one: runner data build makes one of it.
func IsWeb(name string) bool {
	scheme, _, found := strings.Cut(name, "://")
	return found && strings.ToLower(scheme) != "s3"
}

// Open opens an object. What is not there yields fault.NotFound with the name. An object of another machine that was opened
// before is the same as then: that it has changed is found when it is read.
func (s *Store) Open(ctx context.Context, name string) (Object, error) {
	if IsAddress(name) {
		return s.openFar(ctx, name)
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
// *, ? and [] of each, whose names are sorted. A name without any of them stands for itself, whether it is there or not. A
// glob that matches nothing yields fault.NotFound. Web servers list nothing: names of theirs may have ranges alone.
func (s *Store) List(ctx context.Context, pattern string) ([]string, error) {
	var out []string
	for _, name := range Braces(pattern) {
		if IsAddress(name) {
			found, err := s.listFar(ctx, name)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
			continue
		}
		if !strings.ContainsAny(name, "*?[") {
			out = append(out, name)
			continue
		}
		found, err := filepath.Glob(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%q is no pattern: %w", name, err)
		}
		if len(found) == 0 {
			return nil, fault.New(fault.NotFound, "no file matches %s", name).WithHint("check the path with ls; a pattern in a spec starts at the spec's folder")
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
