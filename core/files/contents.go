package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tandem/core/fault"
)

// wholeBytes is up to how many bytes together files are told apart by their contents. Reading more would take
// longer than opening them may, even once.
var wholeBytes int64 = 4 << 30

// settled is how long a file must be unchanged before its stamp stands for its contents: within the resolution
// of a file system's clock a file can be written twice with one stamp.
const settled = 2 * time.Second

// Contents are what files held when they were looked at. Its methods may be called from several goroutines.
type Contents struct {
	paths  []string // each once
	at     []int    // by the caller's index, into the lists here
	stamps []Stamp
	sums   [][sha256.Size]byte // nil when the files are told apart by their stamps
	bad    map[int]error       // why a file could not be read
}

// Look looks at files. Up to 4 GiB together they are read and told apart by their contents alone; what was read
// is remembered in the folder memory ("" for none) by path and stamp, so that a file is read again only when
// its stamp is another. More than that is told apart by size, inode and times. threads files are read at a
// time. Files that cannot be read are no error here: see Missing.
func Look(ctx context.Context, memory string, paths []string, threads int) (*Contents, error) {
	c := &Contents{at: make([]int, len(paths)), bad: map[int]error{}}
	known := map[string]int{}
	for i, p := range paths {
		at, ok := known[p]
		if !ok {
			at = len(c.paths)
			known[p] = at
			c.paths = append(c.paths, p)
		}
		c.at[i] = at
	}
	c.stamps = make([]Stamp, len(c.paths))
	var mu sync.Mutex
	stat := func(i int) {
		info, err := patient(func() (fs.FileInfo, error) { return os.Stat(c.paths[i]) })
		if err == nil {
			err = regular(c.paths[i], info)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			c.bad[i] = Error(c.paths[i], err)
			return
		}
		delete(c.bad, i)
		c.stamps[i] = StampOf(info)
	}
	if err := each(ctx, len(c.paths), threads, stat); err != nil {
		return nil, err
	}
	for wait := 50 * time.Millisecond; wait < time.Second && c.away(); wait *= 2 {
		time.Sleep(wait)
		again := slices.Sorted(maps.Keys(c.bad))
		if err := each(ctx, len(again), threads, func(k int) { stat(again[k]) }); err != nil {
			return nil, err
		}
	}
	if c.Bytes() > wholeBytes {
		return c, nil
	}
	c.sums = make([][sha256.Size]byte, len(c.paths))
	began := time.Now()
	before := recall(memory, c.paths)
	var read atomic.Int64
	absent := maps.Clone(c.bad)
	err := each(ctx, len(c.paths), threads, func(i int) {
		if absent[i] != nil {
			return
		}
		if before != nil && before[i].stamp == c.stamps[i] {
			c.sums[i] = before[i].sum
			return
		}
		sum, stamp, err := digest(c.paths[i])
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			c.bad[i] = err
			return
		}
		c.sums[i], c.stamps[i] = sum, stamp
		read.Add(stamp.Size)
	})
	if err == nil && read.Load() >= memorable {
		remember(memory, c, began)
	}
	return c, err
}

// away says whether the folder of a file that is not there is not there either: a file system of another machine that is
// away for a moment.
func (c *Contents) away() bool {
	seen := map[string]bool{}
	for i, err := range c.bad {
		dir := filepath.Dir(c.paths[i])
		if fault.KindOf(err) != fault.NotFound || seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.Stat(dir); err != nil {
			return true
		}
	}
	return false
}

// each calls do for 0 … n-1, threads at a time, until ctx is cancelled.
func each(ctx context.Context, n, threads int, do func(i int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(threads, 1), n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Canceled, "%w", err)
	}
	return nil
}

// patient tries again what fails for reasons that pass.
func patient[T any](do func() (T, error)) (T, error) {
	for pause := 50 * time.Millisecond; ; pause *= 4 {
		out, err := do()
		if !passing(err) || pause > time.Second {
			return out, err
		}
		time.Sleep(pause)
	}
}

func passing(err error) bool {
	for _, e := range []error{syscall.EIO, syscall.ESTALE, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.EINTR, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// digest is the sha256 of a file that did not change meanwhile, and its stamp.
func digest(path string) (sum [sha256.Size]byte, stamp Stamp, err error) {
	f, err := patient(func() (*os.File, error) { return Open(path) })
	if err != nil {
		return sum, stamp, err
	}
	defer f.Close()
	for range 3 {
		before, err := f.Stat()
		if err != nil {
			return sum, stamp, Error(path, err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, before.Size())); err != nil {
			return sum, stamp, Error(path, err)
		}
		after, err := f.Stat()
		if err != nil {
			return sum, stamp, Error(path, err)
		}
		if stamp = StampOf(after); stamp == StampOf(before) {
			h.Sum(sum[:0])
			return sum, stamp, nil
		}
	}
	return sum, stamp, fault.New(fault.Conflict, "the file is being written").WithFile(path, 0, 0).
		WithHint("start again when it is complete")
}

// Whole says whether the files were told apart by their contents.
func (c *Contents) Whole() bool { return c.sums != nil }

// Bytes is how much the files hold together.
func (c *Contents) Bytes() (n int64) {
	for _, s := range c.stamps {
		n += s.Size
	}
	return n
}

// Missing says why file i could not be read, nil when it could.
func (c *Contents) Missing(i int) error { return c.bad[c.at[i]] }

// Digest is the hex sha256 over the names given to the files and what these held. A file that could not be read
// counts as absent.
func (c *Contents) Digest(names []string) string {
	h := sha256.New()
	for i, at := range c.at {
		frame(h, names[i])
		s := c.stamps[at]
		switch {
		case c.bad[at] != nil:
			frame(h, "absent")
		case c.sums != nil:
			h.Write(c.sums[at][:])
		default:
			var b [32]byte
			put(b[:], s)
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func frame(h hash.Hash, text string) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(text)))
	h.Write(b[:])
	io.WriteString(h, text)
}

// Read reads file i, of at most limit bytes. One that does not hold what it held when it was looked at is
// fault.Conflict: digests that stand for it would be wrong.
func (c *Contents) Read(i int, limit int64) ([]byte, error) {
	at := c.at[i]
	path := c.paths[at]
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, path, limit)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, Error(path, err)
	}
	if c.bad[at] == nil && StampOf(info) == c.stamps[at] {
		return data, nil
	}
	if c.bad[at] == nil && c.sums != nil && sha256.Sum256(data) == c.sums[at] {
		return data, nil // moved, or touched
	}
	return nil, fault.New(fault.Conflict, "the file has changed since the dataset was opened").WithFile(path, 0, 0).
		WithHint("leave the data alone while a run reads it, and start again")
}
