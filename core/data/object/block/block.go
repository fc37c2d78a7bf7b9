// Package block keeps blocks of remote objects in a folder of this machine that all processes of a user share. The folder has a
// bound; the blocks that were not used for longest go first. What is fetched by one is waited for by the others, in this process
// and in the others. A process that is killed leaves nothing that would be taken for a block.
package block

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"tandem/core/fault"
)

// Key names a block.
type Key struct {
	Object string // letters and digits alone, at least two; stands for the object and its version
	Index  int    // of the block; -1: the object as a whole
}

// Block holds one block. It can be read until it is released, also when it is no longer in the folder.
type Block struct {
	io.ReaderAt
	size  int64
	uses  atomic.Int32
	close func() error
	gone  func() bool // whether its file was taken from the folder; nil for none
}

// Size returns the length in bytes.
func (b *Block) Size() int64 { return b.size }

// Release ends the use of a block.
func (b *Block) Release() {
	if b.uses.Add(-1) == 0 {
		b.close()
	}
}

// How many blocks a process keeps open, so that the next reader has them at hand: files, and without a folder memory.
const (
	openFiles  = 96
	openMemory = 16
)

// Options configures a Cache.
type Options struct {
	Dir   string // "": blocks stay in memory
	Bytes int64  // bound of what the folder holds
	// Warn tells a person, once, why nothing can be kept.
	Warn func(text string)
}

// Cache keeps blocks. Its methods may be called from several goroutines.
type Cache struct {
	o       Options
	ctx     context.Context // of all fetching
	cancel  context.CancelFunc
	running sync.WaitGroup
	warned  sync.Once

	mu       sync.Mutex
	closed   bool
	recent   []Key // of open, the last used at the end
	open     map[Key]*Block
	flights  map[Key]*flight
	verified map[Key]uint64 // the files that were found whole, by inode

	fetched atomic.Int64
}

// flight stands for a block on its way. b and err are set when done is closed; b then has a use of its own, which the last of
// those who wait ends.
type flight struct {
	done    chan struct{}
	waiting int // guarded by Cache.mu
	b       *Block
	err     error
}

// Fill writes a block of a key. It ends with ctx.
type Fill func(ctx context.Context, w io.Writer) error

// New returns a Cache. What it fetches ends with ctx, or when it is closed.
func New(ctx context.Context, o Options) *Cache {
	c := &Cache{o: o, open: map[Key]*Block{}, flights: map[Key]*flight{}, verified: map[Key]uint64{}}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if o.Bytes <= 0 {
		c.o.Dir = ""
	}
	return c
}

// Close ends all fetching and lets go of the blocks. Those that are in use stay readable until they are released.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.open {
		b.Release()
	}
	clear(c.open)
	c.recent = nil
	return nil
}

// Fetched returns how many bytes were fetched, by this process, and not found in the folder.
func (c *Cache) Fetched() int64 { return c.fetched.Load() }

// Get returns the block of a key, which the caller releases. size is its length; -1: not known. fill fetches it where it is
// not there. It ends with ctx, while what was begun goes on for others.
func (c *Cache) Get(ctx context.Context, key Key, size int64, fill Fill) (*Block, error) {
	c.mu.Lock()
	if b := c.open[key]; b != nil {
		c.use(key, b)
		c.mu.Unlock()
		return b, nil
	}
	f := c.flights[key]
	if f == nil {
		if c.closed {
			c.mu.Unlock()
			return nil, fault.New(fault.Canceled, "the store is closed")
		}
		f = c.launch(key, size, fill)
	}
	f.waiting++
	c.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	select {
	case <-f.done:
	default:
		c.mu.Unlock()
		return nil, fault.New(fault.Canceled, "%w", context.Cause(ctx))
	}
	if f.err != nil {
		c.mu.Unlock()
		return nil, f.err
	}
	f.b.uses.Add(1)
	if last {
		defer f.b.Release()
	}
	c.mu.Unlock()
	return f.b, nil
}

// Ahead fetches a block that will be wanted, in the background. done is called at its end; it is not when the block is at hand.
func (c *Cache) Ahead(key Key, size int64, fill Fill, done func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key] != nil || c.flights[key] != nil || c.closed {
		return false
	}
	f := c.launch(key, size, fill)
	f.waiting++
	c.running.Go(func() {
		<-f.done
		c.mu.Lock()
		f.waiting--
		if f.waiting == 0 && f.b != nil {
			defer f.b.Release()
		}
		c.mu.Unlock()
		done()
	})
	return true
}

// launch begins to fetch a block. c.mu is held.
func (c *Cache) launch(key Key, size int64, fill Fill) *flight {
	f := &flight{done: make(chan struct{})}
	c.flights[key] = f
	counted := func(ctx context.Context, w io.Writer) error {
		return fill(ctx, &counter{w, &c.fetched})
	}
	c.running.Go(func() {
		b, err := c.produce(c.ctx, key, size, counted)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		if f.b, f.err = b, err; err == nil {
			b.uses.Store(1)
			c.keep(key, b)
		}
		if f.waiting == 0 && b != nil { // nobody is left who would
			b.Release()
		}
		close(f.done)
	})
	return f
}

// keep holds a block open for the next reader. c.mu is held.
func (c *Cache) keep(key Key, b *Block) {
	if c.closed {
		return
	}
	b.uses.Add(1)
	c.open[key] = b
	c.recent = append(c.recent, key)
	most := openFiles
	if c.o.Dir == "" {
		most = openMemory
	}
	over := len(c.recent) - most
	c.recent = slices.DeleteFunc(c.recent, func(k Key) bool {
		old := c.open[k]
		if over > 0 || old.gone != nil && old.gone() { // a file without a name takes room on the disk while it is open
			over--
			old.Release()
			delete(c.open, k)
			return true
		}
		return false
	})
}

// use counts a use of an open block and moves it to the end of recent. c.mu is held.
func (c *Cache) use(key Key, b *Block) {
	b.uses.Add(1)
	for i := len(c.recent) - 1; i >= 0; i-- {
		if c.recent[i] == key {
			copy(c.recent[i:], c.recent[i+1:])
			c.recent[len(c.recent)-1] = key
			return
		}
	}
}

// produce makes a block: of the folder, or fetched into it, or fetched into memory when there is no folder.
func (c *Cache) produce(ctx context.Context, key Key, size int64, fill Fill) (*Block, error) {
	if c.o.Dir != "" {
		b, err := c.fromFolder(ctx, key, size, fill)
		if !isUseless(err) {
			return b, err
		}
		c.warn(err)
	}
	if key.Index >= 0 {
		m := &memory{make([]byte, 0, max(size, 0))}
		if err := fill(ctx, m); err != nil {
			return nil, err
		}
		return &Block{ReaderAt: m, size: int64(len(m.data)), close: func() error { return nil }}, nil
	}
	f, err := os.CreateTemp("", "tandem-object-")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "a file for the whole object: %w", err)
	}
	os.Remove(f.Name()) // it goes with the last who reads it
	if err := fill(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	n, err := f.Seek(0, io.SeekEnd)
	return &Block{ReaderAt: f, size: n, close: f.Close}, err
}

func (c *Cache) warn(err error) {
	c.warned.Do(func() {
		if c.o.Warn != nil {
			c.o.Warn("what is read from stores is not kept in " + c.o.Dir + ": " + err.Error())
		}
	})
}

func (c *Cache) path(key Key) string {
	return filepath.Join(c.o.Dir, key.Object[:2], key.name())
}

// memory is a block in memory.
type memory struct{ data []byte }

func (m *memory) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	return len(p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// counter counts what goes through it.
type counter struct {
	io.Writer
	n *atomic.Int64
}

func (w *counter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}
