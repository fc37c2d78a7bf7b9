package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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

// wholeFiles limits how many files are read for that. Opening so many takes as long as reading the bytes.
var wholeFiles = 200_000

// settleTime says how long a file must be unchanged before its stamp stands for its contents. Within the
// resolution of a file system's clock a file can be written twice with the same stamp.
const settleTime = 2 * time.Second

// folderPatience limits how long Look waits for a folder that is away.
const folderPatience = 4 * time.Second

// Contents holds what files contained when Look looked at them. Its methods may be called from several
// goroutines.
type Contents struct {
	path   func(i int) string
	stamps []Stamp
	sums   [][sha256.Size]byte // nil when the files are told apart by their stamps
	bad    map[int]error       // why a file could not be read, without its name where that can be
}

// Look looks at n files, threads of them at a time; path gives their paths. Files that cannot be opened are no error here;
// Missing tells them.
//
// When the files are at most 200,000 and hold at most 4 GiB together, Look reads them, and their contents alone tell them
// apart. It remembers what it read in the folder memory ("" for none) by path and stamp, and reads a file again only when
// its stamp has changed. When they are or hold more, size, inode and times tell them apart.
func Look(ctx context.Context, memory string, n int, path func(i int) string, threads int) (*Contents, error) {
	c := &Contents{path: path, stamps: make([]Stamp, n), bad: map[int]error{}}
	var mu sync.Mutex
	again := false // some files are looked at for another time
	stat := func(i int) {
		path := c.path(i)
		info, err := retry(func() (fs.FileInfo, error) { return os.Stat(path) })
		if err == nil {
			err = regular(path, info)
		}
		if err == nil {
			err = readable(path, info)
		}
		if err == nil && !again {
			c.stamps[i] = StampOf(info)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			c.bad[i] = bare(err)
			return
		}
		delete(c.bad, i)
		c.stamps[i] = StampOf(info)
	}
	if err := each(ctx, n, threads, stat); err != nil {
		return nil, err
	}
	for wait := 50 * time.Millisecond; wait < folderPatience/2 && c.folderAway(); wait *= 2 {
		time.Sleep(wait)
		again = true
		bad := slices.Sorted(maps.Keys(c.bad))
		if err := each(ctx, len(bad), threads, func(k int) { stat(bad[k]) }); err != nil {
			return nil, err
		}
	}
	if n > wholeFiles || c.Bytes() > wholeBytes {
		return c, nil
	}
	c.sums = make([][sha256.Size]byte, n)
	began := time.Now()
	before := recall(memory, n, path)
	var read atomic.Int64
	absent := maps.Clone(c.bad)
	err := each(ctx, n, threads, func(i int) {
		if absent[i] != nil {
			return
		}
		if before != nil && before[i].stamp == c.stamps[i] {
			c.sums[i] = before[i].sum
			return
		}
		sum, stamp, err := digest(c.path(i))
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			c.bad[i] = bare(err)
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

// bare returns an error of the system without the names around it, so that a million of them take no memory.
func bare(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// folderAway reports whether a missing file's folder is missing too. Then a network file system may be away for
// a moment.
func (c *Contents) folderAway() bool {
	seen := map[string]bool{}
	for i, err := range c.bad {
		dir := filepath.Dir(c.path(i))
		if fault.KindOf(Error("", err)) != fault.NotFound || seen[dir] {
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
func (c *Contents) Missing(i int) error {
	if err := c.bad[i]; err != nil {
		return Error(c.path(i), err)
	}
	return nil
}

// Missings returns the files that could not be read, in order.
func (c *Contents) Missings() []int { return slices.Sorted(maps.Keys(c.bad)) }

// Digest returns a hex sha256 over names and contents of n files. name gives their names and file which they are, so that a
// file may have several names. A file that could not be read counts as absent.
func (c *Contents) Digest(n int, name func(i int) string, file func(i int) int) string {
	h := sha256.New()
	for i := range n {
		at := file(i)
		hashText(h, name(i))
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

// ID returns a text that tells the content of file i from others: its sha256, or its stamp where contents are told apart by
// stamps; "" for a file that could not be read.
func (c *Contents) ID(i int) string {
	switch {
	case c.bad[i] != nil:
		return ""
	case c.sums != nil:
		return hex.EncodeToString(c.sums[i][:])
	}
	return fmt.Sprintf("%s %v", c.path(i), c.stamps[i])
}

// Read reads file i, of at most limit bytes. A file that has changed since Look yields fault.Conflict, because
// digests that stand for it would be wrong.
func (c *Contents) Read(i int, limit int64) ([]byte, error) {
	path := c.path(i)
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
	if c.bad[i] == nil && StampOf(info) == c.stamps[i] {
		return data, nil
	}
	if c.bad[i] == nil && c.sums != nil && sha256.Sum256(data) == c.sums[i] {
		return data, nil // moved, or touched
	}
	return nil, fault.New(fault.Conflict, "the file has changed since the dataset was opened").WithFile(path, 0, 0).
		WithHint("leave the data alone while a run reads it, and start again")
}
