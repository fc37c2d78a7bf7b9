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

// A file of memory belongs to one list of files and is named after it. It begins with memoryMark, then has an
// entry for each file, then the sha256 of all that. An entry is
//
//	size, mtime, ctime i64, inode u64, sha256 [32]     little-endian
//
// and an entry with a stamp of zeros is empty.
const (
	memoryMark   = "tandem contents1"
	memoryEnding = ".contents"
	entrySize    = 32 + sha256.Size
	// minRemembered says how many bytes must have been read before it pays to remember them.
	minRemembered = 32 << 20
	// memoryAge says after how long without use a file of memory is removed.
	memoryAge = 90 * 24 * time.Hour
)

type entry struct {
	stamp Stamp
	sum   [sha256.Size]byte
}

func putStamp(b []byte, s Stamp) {
	for i, v := range []uint64{uint64(s.Size), uint64(s.MTime), uint64(s.CTime), s.Inode} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
}

func memoryFile(folder string, n int, path func(i int) string) string {
	h := sha256.New()
	for i := range n {
		p := path(i)
		if whole, err := filepath.Abs(p); err == nil {
			p = whole
		}
		hashText(h, p)
	}
	return filepath.Join(folder, hex.EncodeToString(h.Sum(nil)[:16])+memoryEnding)
}

// recall returns what was remembered of a list of files, or nil when that is nothing or is damaged.
func recall(folder string, n int, path func(i int) string) []entry {
	if folder == "" {
		return nil
	}
	name := memoryFile(folder, n, path)
	want := len(memoryMark) + n*entrySize + sha256.Size
	data, err := Read(name, int64(want))
	if err != nil || len(data) != want || !bytes.HasPrefix(data, []byte(memoryMark)) {
		return nil
	}
	body, check := data[:want-sha256.Size], data[want-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], check) {
		return nil
	}
	out := make([]entry, n)
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

// remember writes the stamps and sums of c's files to memory. It leaves out files that changed shortly before
// began. It never fails: what is not remembered is read again.
func remember(folder string, c *Contents, began time.Time) {
	if folder == "" || os.MkdirAll(folder, 0o755) != nil {
		return
	}
	data := append(make([]byte, 0, len(memoryMark)+len(c.stamps)*entrySize+sha256.Size), memoryMark...)
	for i, s := range c.stamps {
		var b [entrySize]byte
		if _, bad := c.bad[i]; !bad && s.CTime != 0 && max(s.MTime, s.CTime) < began.Add(-settleTime).UnixNano() {
			putStamp(b[:], s)
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
		err = os.Rename(f.Name(), memoryFile(folder, len(c.stamps), c.path))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // nothing is lost
	}
	forget(folder)
}

// forget removes files of memory that nobody has used for long, and files that killed processes left
// half-written.
func forget(folder string) {
	for ending, age := range map[string]time.Duration{memoryEnding: memoryAge, ".tmp": time.Hour} {
		names, _ := filepath.Glob(filepath.Join(folder, "*"+ending)) // the pattern is well-formed
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > age {
				_ = os.Remove(name) // it does no harm
			}
		}
	}
}
