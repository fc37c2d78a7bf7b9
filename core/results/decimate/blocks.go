package decimate

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"tandem/core/results/store"
)

// blockSize is how many steps a block is of. All blocks of all curves take kept bytes at most, beside the curve that is drawn.
const (
	blockSize   = 64
	columnBytes = 64
	kept        = 64 << 20
)

type key struct {
	run, metric string
	inverse     bool
}

// cache holds the blocks of curves.
type cache struct {
	mu     sync.Mutex
	curves map[key]*blocks
	uses   int
}

func newCache() *cache { return &cache{curves: map[key]*blocks{}} }

// get returns the blocks of a curve, none when it is new.
func (c *cache) get(k key) *blocks {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.curves[k]
	if b == nil {
		b = &blocks{}
		c.curves[k] = b
	}
	c.uses++
	b.used = c.uses
	return b
}

// trim forgets the curves that were not drawn for longest while there are too many blocks.
func (c *cache) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		total, oldest := int64(0), key{}
		for k, b := range c.curves {
			total += b.length.Load() * columnBytes
			if o := c.curves[oldest]; o == nil || b.used < o.used {
				oldest = k
			}
		}
		if total <= kept || len(c.curves) == 1 {
			return
		}
		delete(c.curves, oldest)
	}
}

// blocks holds the blocks of one curve that are complete, from its beginning on.
type blocks struct {
	used int // of the cache

	mu       sync.Mutex
	sessions int
	next     int // the first step that no complete block has
	complete []store.Column
	length   atomic.Int64 // of complete
}

// upTo returns all blocks of a curve that goes as far as e says. It reads those that are new and the last one.
func (b *blocks) upTo(ctx context.Context, src Source, k key, e store.Extent) ([]store.Column, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	start := e.First - e.First%blockSize
	if b.sessions != e.Sessions || len(b.complete) == 0 || b.complete[0].Step < start {
		b.sessions, b.next, b.complete = e.Sessions, start, nil
	}
	fresh, err := read(ctx, src, k, b.next, e.Last)
	if err != nil {
		return nil, err
	}
	all := append(slices.Clip(b.complete), fresh...)
	last := e.Last - e.Last%blockSize // may still grow
	b.complete, b.next = all, last
	if n := len(all); n > 0 && all[n-1].Step >= last {
		b.complete = all[:n-1]
	}
	b.length.Store(int64(len(b.complete)))
	return all, nil
}

// read reads blocks over several connections at once, but not over all: others read too.
func read(ctx context.Context, src Source, k key, from, to int) ([]store.Column, error) {
	const least = 1 << 17 // steps that are worth a connection
	n := max(1, min(3, runtime.GOMAXPROCS(0), (to-from)/least))
	share := ((to-from)/n/blockSize + 1) * blockSize
	parts, errs := make([][]store.Column, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			s := store.Span{From: from + i*share, To: min(to, from+(i+1)*share-1), Size: blockSize, Inverse: k.inverse}
			if s.From <= s.To {
				parts[i], errs[i] = src.Columns(ctx, k.run, k.metric, s)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(parts...), nil
}
