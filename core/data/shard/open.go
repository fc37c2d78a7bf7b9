package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tandem/core/data/object"
	"tandem/core/fault"
)

// Options configures Open.
type Options struct {
	Wanted
	// Folder holds indexes, and unpacked copies of compressed shards; "" for none: then shards are looked through each time.
	Folder string
	// Threads is how many shards are looked through at a time; at least 1.
	Threads int
	// UnpackedBytes limits the unpacked copies of compressed shards.
	UnpackedBytes int64
}

// wholeBytes limits how many bytes of local files, all shards together, are read to know shards by their contents.
var wholeBytes int64 = 4 << 30

// settleTime says how long a file must be unchanged before its version stands for its content (files.Look).
var settleTime = 2 * time.Second

// minRequests is how many objects are asked for at a time at least: stores answer slowly, and many at once.
const minRequests = 16

// Set holds opened shards.
type Set struct {
	Shards []*Index // in the order of their names
	Built  int      // shards that were looked through now
	Stale  []string // indexes that were there and had to be made anew, with the reasons
	pool   *pool
}

// Close closes the shards.
func (s *Set) Close() { s.pool.close() }

// Open opens shards: it reads their indexes, and looks through those shards that have none that is up to date. A shard that
// cannot be read has a Flaw and no records; only what the system is to blame for is an error.
func Open(ctx context.Context, store *object.Store, names []string, o Options) (*Set, error) {
	if o.Folder != "" {
		if err := os.MkdirAll(o.Folder, 0o755); err != nil {
			return nil, fault.New(fault.Unavailable, "%w", err).WithFile(o.Folder, 0, 0).WithHint("indexes of shards are kept there; index_dir names another folder")
		}
	}
	b := &builder{Options: o, store: store}
	s := &Set{Shards: make([]*Index, len(names)), pool: newPool(store, len(names))}
	var total atomic.Int64
	err := each(ctx, len(names), max(o.Threads, minRequests), func(i int) error {
		x, err := b.about(ctx, names[i])
		s.Shards[i] = x
		if err == nil && !object.IsAddress(names[i]) {
			total.Add(x.Size)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	b.whole = total.Load() <= wholeBytes
	b.left.Store(o.UnpackedBytes)
	stale := make([]string, len(names))
	var built atomic.Int64
	err = each(ctx, len(names), o.Threads, func(i int) (err error) {
		if len(s.Shards[i].Flaws) > 0 { // not even there
			return nil
		}
		var fresh bool
		s.Shards[i], fresh, stale[i] = b.recall(s.Shards[i])
		if fresh {
			err = b.mendCopy(ctx, s.Shards[i])
		} else {
			built.Add(1)
			s.Shards[i], err = b.build(ctx, s.Shards[i])
		}
		if err == nil {
			s.pool.add(b, i, s.Shards[i])
		}
		return err
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Built = int(built.Load())
	for _, text := range stale {
		if text != "" {
			s.Stale = append(s.Stale, text)
		}
	}
	b.clean(s.Shards)
	return s, nil
}

// Digest returns a hex sha256 of what the shards contain, and whether it stands for their bytes; otherwise it stands for
// sizes, inodes and times. Objects of stores have their ETag for that. Names are no part of it.
func (s *Set) Digest() (sum string, whole bool) {
	whole = true
	for _, x := range s.Shards {
		whole = whole && (x.Sum != "" || object.IsAddress(x.name) || x.missing())
	}
	h := sha256.New()
	for _, x := range s.Shards {
		switch {
		case x.missing():
			fmt.Fprintf(h, "missing\n")
		case whole && x.Sum != "":
			fmt.Fprintf(h, "%s\n", x.Sum)
		default:
			fmt.Fprintf(h, "%d %q\n", x.Size, x.Version)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), whole
}

// builder makes indexes.
type builder struct {
	Options
	store *object.Store
	whole bool         // shards are read to their last byte
	left  atomic.Int64 // bytes that copies may still take
}

// about returns an Index with what is known of a shard without reading it.
func (b *builder) about(ctx context.Context, name string) (*Index, error) {
	x := &Index{name: name, about: about{Shard: display(name), Wanted: b.Wanted.digest()}}
	obj, err := b.store.Open(ctx, name)
	switch fault.KindOf(err) {
	case "":
		if object.IsAddress(name) {
			x.far = obj
		} else {
			defer obj.Close()
		}
		x.Size, x.Version = obj.Size(), obj.Version()
		if x.Size == 0 {
			x.flaw(reasonShard, "", "has no bytes")
		}
	case fault.NotFound:
		x.flaw(reasonMissing, "", "is not there")
	case fault.Invalid: // a folder, a pipe
		x.flaw(reasonShard, "", err.Error())
	default:
		return x, err
	}
	return x, nil
}

// open opens a shard. close must follow.
func (b *builder) open(ctx context.Context, x *Index) (obj object.Object, close func(), err error) {
	if x.far != nil {
		return x.far, func() {}, nil
	}
	if obj, err = b.store.Open(ctx, x.name); err != nil {
		return nil, nil, err
	}
	return obj, func() { obj.Close() }, nil
}

// missing reports whether the shard is not there.
func (x *Index) missing() bool { return len(x.Flaws) > 0 && x.Flaws[0].Reason == reasonMissing }

// recall returns the index of a shard that was kept, when it is fresh; otherwise x itself. stale says why there is one that
// is of no use.
func (b *builder) recall(x *Index) (index *Index, fresh bool, stale string) {
	if b.Folder == "" {
		return x, false, ""
	}
	path := fileOf(b.Folder, x.name, x.Wanted, indexEnding)
	kept, err := readIndex(path, &b.Wanted)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return x, false, ""
	case err != nil:
		return x, false, err.Error()
	case kept.Shard != x.Shard:
		return x, false, fmt.Sprintf("%s is the index of %s", path, kept.Shard)
	case kept.Size != x.Size || kept.Version != x.Version:
		return x, false, fmt.Sprintf("%s has changed since it was indexed", x.Shard)
	case kept.Sum == "" && b.whole && !object.IsAddress(x.name):
		return x, false, "" // it was one of many
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // it is in use
	kept.name, kept.far = x.name, x.far
	return kept, true, ""
}

// The endings of what is kept of a shard.
const (
	indexEnding = ".index"
	copyEnding  = ".unpacked"
)

// each calls do for 0 … n-1, threads at a time, until one fails or ctx is cancelled. Of several errors it returns the one of
// the lowest number that was met.
func each(ctx context.Context, n, threads int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range min(max(threads, 1), n) {
		wg.Go(func() {
			for ctx.Err() == nil && !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = do(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "%w", err)
	}
	return nil
}
