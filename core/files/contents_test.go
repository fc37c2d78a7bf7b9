package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tandem/core/fault"
)

// writeNumbered writes n files of 1 KiB each.
func writeNumbered(t *testing.T, n int) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		paths = append(paths, filepath.Join(dir, fmt.Sprint(i)))
		fill(t, paths[i], byte(i))
	}
	return dir, paths
}

func fill(t *testing.T, path string, b byte) {
	t.Helper()
	data := make([]byte, 1024)
	data[700] = b
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// refill writes a file again, until the clock of the file system has ticked since it was written last.
func refill(t *testing.T, path string, b byte) {
	t.Helper()
	stamp := func() Stamp {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return StampOf(info)
	}
	for before := stamp(); stamp() == before; {
		fill(t, path, b)
	}
}

func at(list []string) func(int) string { return func(i int) string { return list[i] } }

func digested(names []string) (int, func(int) string, func(int) int) {
	return len(names), at(names), func(i int) int { return i }
}

func look(t *testing.T, memory string, paths []string) *Contents {
	t.Helper()
	c, err := Look(context.Background(), memory, len(paths), at(paths), 3)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// useStampsAbove makes sets of over n bytes be told apart by stamps.
func useStampsAbove(t *testing.T, n int64) {
	before := wholeBytes
	wholeBytes = n
	t.Cleanup(func() { wholeBytes = before })
}

// TestADigestChangesWithWhatIsInTheFiles replaces a file by one of the same size, in place and by renaming, with its
// time of modification kept as cp -p and rsync -t do.
func TestADigestChangesWithWhatIsInTheFiles(t *testing.T) {
	for _, whole := range []bool{true, false} {
		if !whole {
			useStampsAbove(t, 100)
		}
		dir, paths := writeNumbered(t, 5)
		before := look(t, "", paths)
		if before.Whole() != whole {
			t.Fatalf("whole: %v", before.Whole())
		}
		seen := map[string]string{before.Digest(digested(paths)): "nothing"}
		expect := func(what string) {
			d := look(t, "", paths).Digest(digested(paths))
			if seen[d] != "" {
				t.Errorf("whole %v: the digest after %s is that after %s", whole, what, seen[d])
			}
			seen[d] = what
		}
		info, err := os.Stat(paths[2])
		if err != nil {
			t.Fatal(err)
		}
		refill(t, paths[2], 77)
		if err := os.Chtimes(paths[2], info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		expect("writing in place")
		other := filepath.Join(dir, "other")
		fill(t, other, 78)
		if err := os.Chtimes(other, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, paths[2]); err != nil {
			t.Fatal(err)
		}
		expect("renaming another")
		if err := os.Remove(paths[2]); err != nil {
			t.Fatal(err)
		}
		expect("removing")
	}
}

func TestADigestOfContentsIsTheSameElsewhereAndLater(t *testing.T) {
	_, paths := writeNumbered(t, 5)
	_, copies := writeNumbered(t, 5)
	now := time.Now().Add(time.Hour)
	if err := os.Chtimes(copies[3], now, now); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "c", "d", "e"}
	if a, b := look(t, "", paths).Digest(digested(names)), look(t, "", copies).Digest(digested(names)); a != b {
		t.Errorf("%s for one set, %s for its copy", a, b)
	}
	if a, b := look(t, "", append(paths, paths[0])).Digest(digested(append(names, "f"))), look(t, "", append(paths, paths[1])).Digest(digested(append(names, "f"))); a == b {
		t.Error("which file a name stands for does not count")
	}
}

func TestAFileThatChangesMeanwhileIsNotRead(t *testing.T) {
	for _, whole := range []bool{true, false} {
		if !whole {
			useStampsAbove(t, 100)
		}
		_, paths := writeNumbered(t, 4)
		if err := os.Remove(paths[3]); err != nil {
			t.Fatal(err)
		}
		c := look(t, "", paths)
		refill(t, paths[1], 99)
		fill(t, paths[2], 2) // as it was
		fill(t, paths[3], 3)
		for i, want := range []fault.Kind{"", fault.Conflict, "", fault.Conflict} {
			if i == 2 && !whole {
				want = fault.Conflict // it may be another
			}
			data, err := c.Read(i, 1<<20)
			if got := fault.KindOf(err); err != nil && got != want || err == nil && (want != "" || len(data) != 1024) {
				t.Errorf("whole %v, file %d: %v, want %q", whole, i, err, want)
			}
		}
		if c.Missing(0) != nil || fault.KindOf(c.Missing(3)) != fault.NotFound {
			t.Errorf("missing: %v, %v", c.Missing(0), c.Missing(3))
		}
	}
}

func TestAFolderThatIsAwayIsToldFromAFileThatIsAbsent(t *testing.T) {
	dir, paths := writeNumbered(t, 3)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	c := &Contents{path: at(paths), bad: map[int]error{1: syscall.ENOENT}}
	if !c.folderAway() {
		t.Error("the folder counts as there")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if c.folderAway() {
		t.Error("a file that is absent from its folder counts as away")
	}
}

func TestWhatWasReadIsRememberedByItsStamp(t *testing.T) {
	memory := t.TempDir()
	_, paths := writeNumbered(t, 3)
	c := look(t, memory, paths)
	recalled := func() (n int) {
		for i, e := range recall(memory, len(paths), at(paths)) {
			if e.stamp == c.stamps[i] && e.sum == c.sums[i] {
				n++
			}
		}
		return n
	}
	if names, _ := filepath.Glob(filepath.Join(memory, "*")); len(names) != 0 {
		t.Errorf("%d files after reading 3 KiB, which are read again sooner", len(names))
	}
	remember(memory, c, time.Now()) // the files are too young for their stamps to stand for them
	if recalled() != 0 {
		t.Error("stamps of files that have just been written are trusted")
	}
	remember(memory, c, time.Now().Add(time.Hour))
	if recalled() != 3 {
		t.Errorf("%d of 3 files are known again", recalled())
	}
	// A look takes the sums from memory: they are made wrong to see it.
	c.sums[1][0]++
	remember(memory, c, time.Now().Add(time.Hour))
	if again := look(t, memory, paths); again.sums[1] != c.sums[1] {
		t.Error("a file that is remembered was read again")
	}
	refill(t, paths[1], 1)
	if again := look(t, memory, paths); again.sums[1] == c.sums[1] {
		t.Error("a file of another stamp was not read again")
	}
	// Damage is noticed.
	name := memoryFile(memory, len(paths), at(paths))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if recall(memory, len(paths), at(paths)) != nil {
		t.Error("damaged memory is believed")
	}
}
