package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"
)

// What is remembered of a list of files is one file, named after the list, of an entry for each:
//
//	size, mtime, ctime i64, inode u64, sha256 [32]     little-endian
//
// behind a mark, and before the sha256 of all that. A stamp of zeros is no entry.
const (
	memoryMark   = "tandem contents1"
	memoryEnding = ".contents"
	entrySize    = 32 + sha256.Size
	// memorable is from how many bytes read on it pays to remember.
	memorable = 32 << 20
	// forgotten is after how long a file of memory that nobody asked for is removed.
	forgotten = 90 * 24 * time.Hour
)

type entry struct {
	stamp Stamp
	sum   [sha256.Size]byte
}

func put(b []byte, s Stamp) {
	for i, v := range []uint64{uint64(s.Size), uint64(s.MTime), uint64(s.CTime), s.Inode} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
}

func memoryFile(folder string, paths []string) string {
	h := sha256.New()
	for _, p := range paths {
		if whole, err := filepath.Abs(p); err == nil {
			p = whole
		}
		frame(h, p)
	}
	return filepath.Join(folder, hex.EncodeToString(h.Sum(nil)[:16])+memoryEnding)
}

// recall is what was remembered of a list of files, nil when that is nothing or is damaged.
func recall(folder string, paths []string) []entry {
	if folder == "" {
		return nil
	}
	name := memoryFile(folder, paths)
	want := len(memoryMark) + len(paths)*entrySize + sha256.Size
	data, err := Read(name, int64(want))
	if err != nil || len(data) != want || !bytes.HasPrefix(data, []byte(memoryMark)) {
		return nil
	}
	body, check := data[:want-sha256.Size], data[want-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], check) {
		return nil
	}
	out := make([]entry, len(paths))
	for i := range out {
		b := body[len(memoryMark)+i*entrySize:]
		number := func(k int) uint64 { return binary.LittleEndian.Uint64(b[8*k:]) }
		out[i].stamp = Stamp{int64(number(0)), int64(number(1)), int64(number(2)), number(3)}
		copy(out[i].sum[:], b[32:])
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // it is in use
	return out
}

// remember keeps what c's files hold, of those that had not changed shortly before began. It never fails: what
// is not remembered is read again.
func remember(folder string, c *Contents, began time.Time) {
	if folder == "" || os.MkdirAll(folder, 0o755) != nil {
		return
	}
	data := append(make([]byte, 0, len(memoryMark)+len(c.paths)*entrySize+sha256.Size), memoryMark...)
	for i, s := range c.stamps {
		var b [entrySize]byte
		if _, bad := c.bad[i]; !bad && s.CTime != 0 && max(s.MTime, s.CTime) < began.Add(-settled).UnixNano() {
			put(b[:], s)
			copy(b[32:], c.sums[i][:])
		}
		data = append(data, b[:]...)
	}
	sum := sha256.Sum256(data)
	f, err := os.CreateTemp(folder, "*.tmp")
	if err != nil {
		return
	}
	_, err = f.Write(append(data, sum[:]...))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), memoryFile(folder, c.paths))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // nothing is lost
	}
	forget(folder)
}

// forget removes what nobody asked for for long, and what killed processes left half-written.
func forget(folder string) {
	for ending, age := range map[string]time.Duration{memoryEnding: forgotten, ".tmp": time.Hour} {
		names, _ := filepath.Glob(filepath.Join(folder, "*"+ending)) // the pattern is well-formed
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > age {
				_ = os.Remove(name) // it does no harm
			}
		}
	}
}
