package shard

import (
	"context"
	"io"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/data/object"
	"tandem/core/fault"
)

// maxOpen limits the shards that are open at a time.
const maxOpen = 200

// checkEvery says how often an open file is compared with the one that its name leads to.
const checkEvery = time.Second

// pool keeps shards open, those that were used last.
type pool struct {
	store *object.Store

	mu      sync.Mutex
	handles []handle
	open    int
	clock   int64
}

type handle struct {
	name, version string // what to open; "" for any version
	obj           opened
	users         int
	used          int64
	checked       time.Time
	keep          bool // it cannot be opened again
}

type opened interface {
	io.ReaderAt
	io.Closer
}

func newPool(store *object.Store, n int) *pool {
	return &pool{store: store, handles: make([]handle, n)}
}

// add tells the pool of a shard.
func (p *pool) add(b *builder, i int, x *Index) {
	h := handle{name: x.name, version: x.Version}
	switch {
	case x.copied != nil:
		h = handle{name: x.name, obj: x.copied, keep: true}
	case x.far != nil && x.Packed == "":
		h = handle{name: x.name, obj: x.far, keep: true}
	case x.Packed != "":
		h.name, _ = b.copyOf(x)
		h.version = ""
	}
	p.mu.Lock()
	p.handles[i] = h
	p.mu.Unlock()
}

// acquire returns shard i, opened. release must follow.
func (p *pool) acquire(ctx context.Context, i int) (opened, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.handles[i]
	p.clock++
	h.used = p.clock
	if h.obj != nil && !h.keep && h.version != "" && !object.IsAddress(h.name) && h.users == 0 && time.Since(h.checked) > checkEvery {
		h.obj.Close()
		h.obj, p.open = nil, p.open-1
	}
	if h.obj == nil {
		for p.open >= maxOpen && p.evict() {
		}
		obj, err := p.store.Open(ctx, h.name)
		if err != nil {
			return nil, err
		}
		if h.version != "" && obj.Version() != h.version {
			obj.Close()
			return nil, fault.New(fault.Conflict, "the shard has changed since the dataset was opened").WithFile(h.name, 0, 0).
				WithReason(clip.ReasonChanged).WithHint("leave the data alone while a run reads it, and start again")
		}
		h.obj, h.checked = obj, time.Now()
		p.open++
	}
	h.users++
	return h.obj, nil
}

func (p *pool) release(i int) {
	p.mu.Lock()
	p.handles[i].users--
	p.mu.Unlock()
}

// evict closes the shard that nobody has used for longest. It returns false when all are in use.
func (p *pool) evict() bool {
	oldest := -1
	for i := range p.handles {
		h := &p.handles[i]
		if h.obj != nil && !h.keep && h.users == 0 && (oldest < 0 || h.used < p.handles[oldest].used) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	p.handles[oldest].obj.Close()
	p.handles[oldest].obj = nil
	p.open--
	return true
}

// close closes all shards.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.handles {
		if p.handles[i].obj != nil {
			p.handles[i].obj.Close()
			p.handles[i].obj = nil
		}
	}
	p.open = 0
}

// readAt reads from what the pool has open. It ends with ctx where that may take long.
func readAt(ctx context.Context, from io.ReaderAt, p []byte, offset int64) (int, error) {
	if o, ok := from.(object.Object); ok {
		return object.ReadAt(ctx, o, p, offset)
	}
	return from.ReadAt(p, offset)
}

// Read reads size bytes of a shard from a place on. A shard that has changed since it was opened yields fault.Conflict.
func (s *Set) Read(ctx context.Context, shard int, offset, size int64) ([]byte, error) {
	obj, err := s.pool.acquire(ctx, shard)
	if err != nil {
		return nil, err
	}
	defer s.pool.release(shard)
	data := make([]byte, size)
	n, err := readAt(ctx, obj, data, offset)
	if int64(n) == size {
		return data, nil
	}
	if err == nil || err == io.EOF {
		err = fault.New(fault.Corrupt, "ends after %d of %d bytes", n, size).WithFile(s.Shards[shard].Shard, 0, 0).WithReason("truncated picture")
	}
	return nil, err
}
