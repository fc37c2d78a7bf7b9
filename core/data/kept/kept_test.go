package kept

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tandem/core/random"
)

// blob returns n bytes that belong to a number.
func blob(i, n int) []byte {
	b := make([]byte, n)
	for s, at := random.New(uint64(i), "blob"), 0; at < n; at++ {
		b[at] = byte(s.Uint64())
	}
	return b
}

func key(i int) Key { return KeyOf("blob", fmt.Sprint(i)) }

func open(t *testing.T, dir, kind string, max int64) *Store {
	t.Helper()
	s, err := Open(dir, kind, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// has counts the blobs 0 … n-1 that are found, and fails when one is not what was put.
func has(t *testing.T, s *Store, n, size int) (found int) {
	t.Helper()
	var buf []byte
	for i := range n {
		b, ok := s.Get(key(i), buf)
		if !ok {
			continue
		}
		if found++; !bytes.Equal(b, blob(i, size)) {
			t.Fatalf("blob %d is another", i)
		}
		buf = b
	}
	return found
}

func put(s *Store, from, to, size int) (kept int) {
	for i := from; i < to; i++ {
		if s.Put(key(i), blob(i, size)) {
			kept++
		}
	}
	return kept
}

func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

func TestWhatIsKeptIsFoundByTheNextStoreOfItsKind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "raw", 64<<20)
	if n := put(s, 0, 500, 3000); n != 500 {
		t.Fatalf("%d of 500 kept", n)
	}
	if n := has(t, s, 600, 3000); n != 500 {
		t.Errorf("%d of 500 found", n)
	}
	live := open(t, dir, "raw", 64<<20) // while the first is at work
	if n := has(t, live, 600, 3000); n != 500 {
		t.Errorf("%d of 500 found in a segment that is being written", n)
	}
	s.Close()
	again := open(t, dir, "raw", 64<<20)
	if n := has(t, again, 600, 3000); n != 500 || again.Len() != 500 {
		t.Errorf("%d of 500 found by the next, %d listed", n, again.Len())
	}
	if other := open(t, dir, "jpeg", 64<<20); other.Len() != 0 || has(t, other, 600, 3000) != 0 {
		t.Error("blobs of another kind are found")
	}
}

func TestAKilledProcessLeavesWhatIsWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "raw", 64<<20)
	put(s, 0, 50, 1000)
	name := s.own.file.Name()
	data, err := os.ReadFile(name) // as a kill would leave it: without its list
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, cut := range []int{len(data), len(data) - 1, len(data) - 1000, len(data) - 1010, headBytes + 5, 40, 3, 0} {
		if err := os.WriteFile(name, data[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		want := max(0, (cut-headBytes)/(recordBytes+1000))
		next := open(t, dir, "raw", 64<<20)
		if n := has(t, next, 50, 1000); n != want {
			t.Errorf("cut to %d of %d bytes: %d found, want %d", cut, len(data), n, want)
		}
		if n := put(next, 0, 60, 1000); n != 60 {
			t.Errorf("cut to %d bytes: %d of 60 kept", cut, n)
		}
		next.Close()
		all, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
		for _, f := range all {
			if f != name {
				os.Remove(f)
			}
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "raw", 64<<20)
	put(s, 0, 20, 1000)
	name := s.own.file.Name()
	s.Close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := random.New(1, "damage")
	for range 200 {
		data := bytes.Clone(whole)
		data[r.IntN(len(data))] ^= byte(1 + r.IntN(255))
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		next := open(t, dir, "raw", 64<<20)
		has(t, next, 20, 1000) // fails when one is another
		next.Close()
	}
}

func TestNoMoreIsKeptThanThereMayBe(t *testing.T) {
	const max = 4 << 20
	dir := t.TempDir()
	a, b := open(t, dir, "raw", max), open(t, dir, "jpeg", max)
	for i := range 4000 { // 24 MB
		a.Put(key(i), blob(i, 3000))
		b.Put(key(i), blob(i, 3000))
		if i%500 == 0 {
			if n := bytesIn(t, dir); n > max {
				t.Fatalf("%d bytes after %d blobs", n, i)
			}
		}
	}
	full, why := a.Full()
	if n := bytesIn(t, dir); n > max || n < max/2 || !full || why != nil {
		t.Errorf("%d bytes, full %v, %v", n, full, why)
	}
	if n := has(t, a, 4000, 3000); n < 300 || n != a.Len() { // what is in use is not taken away
		t.Errorf("%d found of %d", n, a.Len())
	}
	a.Close()
	b.Close()
	if n := bytesIn(t, dir); n > max {
		t.Errorf("%d bytes after all were closed", n)
	}
}

func TestWhatWasUsedLongestAgoMakesRoom(t *testing.T) {
	const max = 4 << 20
	dir := t.TempDir()
	fill := func(kind string, from int) (kept int) {
		s := open(t, dir, kind, max)
		defer s.Close()
		return put(s, from, from+400, 3000)
	}
	for i, kind := range []string{"old", "used", "young"} {
		if n := fill(kind, 1000*i); n != 400 {
			t.Fatalf("%s: %d kept", kind, n)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
		for _, name := range names {
			if info, _ := os.Stat(name); time.Since(info.ModTime()) < time.Minute {
				past := time.Now().Add(time.Duration(i-10) * time.Hour)
				os.Chtimes(name, past, past)
			}
		}
	}
	old := open(t, dir, "old", max) // opened, and no blob of it is read
	used := open(t, dir, "used", max)
	has(t, used, 1, 3000)
	for i := 1000; i < 1400; i++ {
		used.Get(key(i), nil)
	}
	if n := fill("new", 5000); n != 400 {
		t.Errorf("%d of 400 new blobs kept", n)
	}
	count := func(kind string, from int) (n int) {
		s := open(t, dir, kind, max)
		defer s.Close()
		for i := from; i < from+400; i++ {
			if _, ok := s.Get(key(i), nil); ok {
				n++
			}
		}
		return n
	}
	if n := count("used", 1000); n != 400 {
		t.Errorf("%d of 400 blobs in use are left", n)
	}
	if o, y := count("old", 0), count("young", 2000); o >= y {
		t.Errorf("%d of the old and %d of the young are left", o, y)
	}
	old.Close()
}

func TestSeveralAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := Open(dir, "raw", 2<<20)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			var inner sync.WaitGroup
			for w := range 3 {
				inner.Go(func() {
					var buf []byte
					for i := w; i < 900; i += 2 {
						if b, ok := s.Get(key(i), buf); ok {
							if buf = b; !bytes.Equal(b, blob(i, 2000)) {
								t.Errorf("blob %d is another", i)
							}
						} else {
							s.Put(key(i), blob(i, 2000))
						}
					}
				})
			}
			inner.Wait()
		})
	}
	wg.Wait()
	if n := bytesIn(t, dir); n > 2<<20 {
		t.Errorf("%d bytes", n)
	}
}

func TestAFolderThatCannotBeWrittenKeepsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "raw", 64<<20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if s.Put(key(1), blob(1, 100)) {
		t.Error("kept in a folder that is gone")
	}
	if full, why := s.Full(); !full || why == nil {
		t.Errorf("full %v, %v", full, why)
	}
	if _, ok := s.Get(key(1), nil); ok {
		t.Error("found")
	}
}
