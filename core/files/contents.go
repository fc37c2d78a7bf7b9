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

// wholeBytes limits how many bytes, all files together, are read to tell files apart by their contents. Reading
// more would take longer than opening a dataset may, even once.
var wholeBytes int64 = 4 << 30

// settleTime says how long a file must be unchanged before its stamp stands for its contents. Within the
// resolution of a file system's clock a file can be written twice with the same stamp.
const settleTime = 2 * time.Second

// Contents holds what files contained when Look looked at them. Its methods may be called from several
// goroutines.
type Contents struct {
	paths  []string // each once
	at     []int    // by the caller's index, into the lists here
	stamps []Stamp
	sums   [][sha256.Size]byte // nil when the files are told apart by their stamps
	bad    map[int]error       // why a file could not be read
}

// Look looks at files, threads of them at a time. Files that cannot be read are no error here; Missing tells
// them.
//
// When the files hold at most 4 GiB together, Look reads them, and their contents alone tell them apart. It
// remembers what it read in the folder memory ("" for none) by path and stamp, and reads a file again only when
// its stamp has changed. When they hold more, size, inode and times tell them apart.
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
		info, err := retry(func() (fs.FileInfo, error) { return os.Stat(c.paths[i]) })
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
	for wait := 50 * time.Millisecond; wait < time.Second && c.folderAway(); wait *= 2 {
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
	if err == nil && read.Load() >= minRemembered {
		remember(memory, c, began)
	}
	return c, err
}

// folderAway reports whether a missing file's folder is missing too. Then a network file system may be away for
// a moment.
func (c *Contents) folderAway() bool {
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

// retry calls do again, after growing pauses, while it fails for reasons that pass.
func retry[T any](do func() (T, error)) (T, error) {
	for pause := 50 * time.Millisecond; ; pause *= 4 {
		out, err := do()
		if !isTransient(err) || pause > time.Second {
			return out, err
		}
		time.Sleep(pause)
	}
}

func isTransient(err error) bool {
	for _, e := range []error{syscall.EIO, syscall.ESTALE, syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.EINTR, syscall.ETIMEDOUT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// digest returns the sha256 of a file and its stamp. It reads again when the file changes meanwhile, three
// times at most.
func digest(path string) (sum [sha256.Size]byte, stamp Stamp, err error) {
	f, err := retry(func() (*os.File, error) { return Open(path) })
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

// Whole reports whether the contents tell the files apart, not their stamps.
func (c *Contents) Whole() bool { return c.sums != nil }

// Bytes returns the size of all files together.
func (c *Contents) Bytes() (n int64) {
	for _, s := range c.stamps {
		n += s.Size
	}
	return n
}

// Missing returns the error of reading file i, or nil when it could be read.
func (c *Contents) Missing(i int) error { return c.bad[c.at[i]] }

// Digest returns a hex sha256 over names and contents of the files. names[i] is the name of file i. A file that
// could not be read counts as absent.
func (c *Contents) Digest(names []string) string {
	h := sha256.New()
	for i, at := range c.at {
		hashText(h, names[i])
		s := c.stamps[at]
		switch {
		case c.bad[at] != nil:
			hashText(h, "absent")
		case c.sums != nil:
			h.Write(c.sums[at][:])
		default:
			var b [32]byte
			putStamp(b[:], s)
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashText(h hash.Hash, text string) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(len(text)))
	h.Write(b[:])
	io.WriteString(h, text)
}

// Read reads file i, of at most limit bytes. A file that has changed since Look yields fault.Conflict, because
// digests that stand for it would be wrong.
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
