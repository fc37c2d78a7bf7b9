package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/core/fault"
)

func open(t *testing.T, dir string, limit int64) *Cache {
	t.Helper()
	c := New(context.Background(), Options{Dir: dir, Bytes: limit, Warn: func(text string) { t.Log(text) }})
	t.Cleanup(func() { c.Close() })
	return c
}

func key(i int) Key { return Key{Object: "abcdef", Index: i} }

// content returns a block of 1000 bytes that differs from the others.
func content(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%010d", i), 100) }

// source fills blocks with their content and counts how often.
type source struct{ asked atomic.Int64 }

func (s *source) of(i int) Fill {
	return func(_ context.Context, w io.Writer) error {
		s.asked.Add(1)
		_, err := w.Write(content(i))
		return err
	}
}

// want reads a block and compares it.
func want(t *testing.T, c *Cache, s *source, i int) {
	t.Helper()
	b, err := c.Get(context.Background(), key(i), 1000, s.of(i))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	got := make([]byte, 1000)
	if _, err := b.ReadAt(got, 0); err != nil || !bytes.Equal(got, content(i)) {
		t.Fatalf("block %d: %.20q, %v", i, got, err)
	}
}

func held(t *testing.T, dir string) (total int64, files []string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, e := os.Stat(path); e == nil && info.Mode().IsRegular() && d.Name() != lockName {
			total += info.Size()
			files = append(files, path)
		}
		return nil
	})
	return total, files
}

func TestABlockIsFetchedOnceByAllWhoWantIt(t *testing.T) {
	dir := t.TempDir()
	s := &source{}
	one, other := open(t, dir, 1<<20), open(t, dir, 1<<20) // as two processes: each has files of its own
	var wg sync.WaitGroup
	for i := range 40 {
		for _, c := range []*Cache{one, other} {
			wg.Go(func() { want(t, c, s, i%4) })
		}
	}
	wg.Wait()
	later := open(t, dir, 1<<20)
	for i := range 4 {
		want(t, later, s, i)
	}
	if n := s.asked.Load(); n != 4 || one.Fetched()+other.Fetched() != 4000 {
		t.Errorf("4 blocks were fetched %d times, %d bytes", n, one.Fetched()+other.Fetched())
	}
}

func TestWhatACrashSpoiledIsFetchedAgain(t *testing.T) {
	dir := t.TempDir()
	s := &source{}
	c := open(t, dir, 1<<20)
	for i := range 4 {
		want(t, c, s, i)
	}
	c.Close()
	_, files := held(t, dir)
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(files[0], append(append([]byte{}, data[:500]...), make([]byte, len(data)-500)...), 0o600) // a hole
	os.Truncate(files[1], 300)
	os.Rename(files[2], files[2]+partSuffix) // killed before it was whole
	os.Truncate(files[2]+partSuffix, 300)
	again := open(t, dir, 1<<20)
	for i := range 4 {
		want(t, again, s, i)
	}
	if n := s.asked.Load(); n != 4+3 {
		t.Errorf("fetched %d times, want 7", n)
	}
	if _, files := held(t, dir); len(files) != 4 {
		t.Errorf("%q are there", files)
	}
}

func TestTheFolderHoldsNoMoreThanItsBound(t *testing.T) {
	dir := t.TempDir()
	s := &source{}
	const limit = 20 * (1000 + footer)
	one, other := open(t, dir, limit), open(t, dir, limit)
	for i := range 100 {
		if i%5 == 0 { // used again and again
			os.Chtimes(one.path(key(0)), time.Now(), time.Now())
		} else if info, err := os.Stat(one.path(key(i - 1))); err == nil { // the order of use, whatever the clock's resolution
			at := info.ModTime().Add(time.Duration(i-100) * time.Hour)
			os.Chtimes(one.path(key(i-1)), at, at)
		}
		want(t, []*Cache{one, other}[i%2], s, i)
		if total, _ := held(t, dir); total > limit {
			t.Fatalf("%d bytes after block %d, at most %d", total, i, limit)
		}
	}
	for _, i := range []int{0, 99} {
		if _, err := os.Stat(one.path(key(i))); err != nil {
			t.Errorf("block %d, used last, is gone", i)
		}
	}
	if n := len(one.open) + len(other.open); n > 40 {
		t.Errorf("%d files are open, also those that were taken away", n)
	}
	if total, _ := held(t, dir); total < limit/2 {
		t.Errorf("%d bytes of %d are used", total, limit)
	}
}

func TestAFolderThatHoldsOneBlockKeepsOne(t *testing.T) {
	dir := t.TempDir()
	s := &source{}
	for i := range 4 {
		want(t, open(t, dir, 1000+2*footer), s, i) // by processes that know nothing of one another
	}
	if _, files := held(t, dir); len(files) != 1 {
		t.Errorf("%q are there", files)
	}
}

func TestAReaderLeavesAndTheOthersGetTheirBlock(t *testing.T) {
	for _, dir := range []string{t.TempDir(), ""} {
		c := open(t, dir, 1<<20)
		release := make(chan struct{})
		slow := func(ctx context.Context, w io.Writer) error {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
			_, err := w.Write(content(1))
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		left, got := make(chan error), make(chan error)
		go func() { _, err := c.Get(ctx, key(1), 1000, slow); left <- err }()
		go func() {
			b, err := c.Get(context.Background(), key(1), 1000, slow)
			if err == nil {
				b.Release()
			}
			got <- err
		}()
		cancel()
		if err := <-left; fault.KindOf(err) != fault.Canceled {
			t.Errorf("%v", err)
		}
		close(release)
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, 1<<20)
	broken := errors.New("broken")
	_, err := c.Get(context.Background(), key(1), 1000, func(_ context.Context, w io.Writer) error {
		w.Write(make([]byte, 500))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, files := held(t, dir); len(files) != 0 {
		t.Errorf("%q", files)
	}
	want(t, c, &source{}, 1)
}

func TestWithoutAFolderBlocksStayInMemory(t *testing.T) {
	notADir := filepath.Join(t.TempDir(), "file")
	os.WriteFile(notADir, nil, 0o600)
	for _, dir := range []string{"", notADir} {
		warnings := []string{}
		c := New(context.Background(), Options{Dir: dir, Bytes: 1 << 20, Warn: func(text string) { warnings = append(warnings, text) }})
		s := &source{}
		for range 2 {
			for i := range 3 {
				want(t, c, s, i)
			}
		}
		if s.asked.Load() != 3 || len(warnings) != min(1, len(dir)) {
			t.Errorf("%q: fetched %d times, %q", dir, s.asked.Load(), warnings)
		}
		c.Close()
	}
}

func TestAnObjectOfUnknownLengthIsKeptAsAWhole(t *testing.T) {
	dir := t.TempDir()
	body := strings.Repeat("0123456789", 5000)
	asked := 0
	fill := func(_ context.Context, w io.Writer) error {
		asked++
		for part := body; part != ""; part = part[min(777, len(part)):] {
			if _, err := io.WriteString(w, part[:min(777, len(part))]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range []*Cache{open(t, dir, 32<<20), open(t, dir, 32<<20), open(t, "", 0), open(t, t.TempDir(), 1000)} {
		b, err := c.Get(context.Background(), Key{"abcdef", -1}, -1, fill)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || string(got) != body {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		b.Release()
	}
	if asked != 4 { // once for the folder that two share, once without any, twice where it proves too long for the folder
		t.Errorf("fetched %d times", asked)
	}
}

func TestABlockIsFetchedAhead(t *testing.T) {
	c := open(t, t.TempDir(), 1<<20)
	s := &source{}
	done := make(chan struct{})
	if !c.Ahead(key(1), 1000, s.of(1), func() { close(done) }) {
		t.Fatal("it is not at hand")
	}
	<-done
	want(t, c, s, 1)
	if c.Ahead(key(1), 1000, s.of(1), nil) || s.asked.Load() != 1 {
		t.Errorf("fetched %d times", s.asked.Load())
	}
}
