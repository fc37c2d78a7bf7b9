package feature

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/fault"
)

const dim = 3

type told struct{ messages []string }

func (w *told) warn(m string) { w.messages = append(w.messages, m) }

func open(t *testing.T, root string, w *told) *Store {
	t.Helper()
	s, err := Open(root, map[string]string{"encoder": "vit"}, dim, w.warn)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func row(i int) []float32 { return []float32{float32(i), float32(i) + .5, -float32(i)} }

// put keeps rows from … to-1.
func put(s *Store, from, to int) {
	for i := from; i < to; i++ {
		s.Put(fmt.Sprint(i), row(i))
	}
}

// has checks that s has the rows from … to-1 and no other of the first 100.
func has(t *testing.T, s *Store, from, to int) {
	t.Helper()
	for i := range 100 {
		got := make([]float32, dim)
		name := fmt.Sprint(i)
		if ok := s.Get(name, got); ok != (i >= from && i < to) || ok != s.Has(name) || ok && !slices.Equal(got, row(i)) {
			t.Fatalf("row %d: %v %v, want those from %d to %d", i, ok, got, from, to)
		}
	}
	if s.Len() != to-from {
		t.Errorf("%d features, want %d", s.Len(), to-from)
	}
}

func segments(t *testing.T, s *Store) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir(), "*"+ending))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFeaturesOutliveTheStore(t *testing.T) {
	root, w := t.TempDir(), &told{}
	for n := range 4 { // each adds a part
		s := open(t, root, w)
		has(t, s, 0, 10*n)
		put(s, 10*n, 10*(n+1))
		has(t, s, 0, 10*(n+1)) // before they are written
		s.Close()
	}
	s := open(t, root, w)
	has(t, s, 0, 40)
	if len(segments(t, s)) != 4 || len(w.messages) > 0 {
		t.Errorf("%v, told %q", segments(t, s), w.messages)
	}
}

// Rows are written as they come, so that a killed process loses the newest only.
func TestWhatIsWrittenSurvivesAKill(t *testing.T) {
	root, w := t.TempDir(), &told{}
	s := open(t, root, w)
	put(s, 0, 10)
	s.since = time.Now().Add(-2 * flushAfter)
	put(s, 10, 11)
	put(s, 11, 20) // lost: there is no Close
	half := filepath.Join(s.Dir(), "1234"+temporary)
	if err := os.WriteFile(half, []byte(magic), 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, root, w)
	has(t, again, 0, 11)
	if _, err := os.Stat(half); err != nil {
		t.Error("what may be being written by another process was removed")
	}
	old := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(half, old, old); err != nil {
		t.Fatal(err)
	}
	open(t, root, w)
	if _, err := os.Stat(half); err == nil {
		t.Error("what a killed process left stays for ever")
	}
	if len(w.messages) > 0 {
		t.Errorf("told %q", w.messages)
	}
}

// Two processes add at the same time, the same rows in part; both keep what they have.
func TestStoresShareAFolder(t *testing.T) {
	root, w := t.TempDir(), &told{}
	a, b := open(t, root, w), open(t, root, w)
	put(a, 0, 20)
	put(b, 10, 30)
	a.Close()
	b.Close()
	has(t, open(t, root, w), 0, 30)
}

func TestOtherFeaturesAreElsewhere(t *testing.T) {
	root, w := t.TempDir(), &told{}
	s := open(t, root, w)
	put(s, 0, 5)
	s.Close()
	other, err := Open(root, map[string]string{"encoder": "resnet"}, dim, w.warn)
	if err != nil {
		t.Fatal(err)
	}
	has(t, other, 0, 0)
	text, err := os.ReadFile(filepath.Join(other.Dir(), "about.json"))
	if err != nil || !strings.Contains(string(text), `"encoder": "resnet"`) {
		t.Errorf("about.json says %q (%v)", text, err)
	}
}

// A file that is damaged or another's is set aside with a message, whatever is wrong with it; what was
// in it can be kept anew, and files beside it stay.
func TestDamagedFilesAreLeftOut(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut short":        func(b []byte) []byte { return b[:len(b)-1] },
		"too long":         func(b []byte) []byte { return append(b, 0) },
		"empty":            func([]byte) []byte { return nil },
		"no header":        func([]byte) []byte { return []byte("hello") },
		"another's":        func(b []byte) []byte { b[20]++; return b },
		"foreign":          func(b []byte) []byte { copy(b, "something else .."); return b },
		"wrong width":      func(b []byte) []byte { b[48]++; return b },
		"a flipped key":    func(b []byte) []byte { b[headerSize+3] ^= 1; return b },
		"a flipped check":  func(b []byte) []byte { b[headerSize+17] ^= 1; return b },
		"a flipped number": func(b []byte) []byte { b[len(b)-2] ^= 1; return b }, // of the last row
	} {
		t.Run(name, func(t *testing.T) {
			root, w := t.TempDir(), &told{}
			s := open(t, root, w)
			put(s, 0, 10)
			s.Close()
			file := segments(t, s)[0]
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, root, w)
			put(s, 20, 30)
			s.Get("9", make([]float32, dim))
			has(t, s, 20, 30)
			put(s, 0, 20)
			has(t, s, 0, 30)
			s.Close()
			has(t, open(t, root, w), 0, 30)
			if len(w.messages) != 1 || !strings.Contains(w.messages[0], filepath.Base(file)) {
				t.Errorf("told %q, want one message of %s", w.messages, filepath.Base(file))
			}
		})
	}
}

// A disk that takes no more costs what is not written, once and with a message; rows in memory stay.
func TestADiskThatIsFullCostsTheCacheOnly(t *testing.T) {
	root, w := t.TempDir(), &told{}
	s := open(t, root, w)
	put(s, 0, 10)
	if err := os.RemoveAll(s.Dir()); err != nil { // nothing can be written there now, as root too
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Dir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.since = time.Now().Add(-2 * flushAfter)
	put(s, 10, 11)
	put(s, 11, 20)
	has(t, s, 0, 11)
	s.Close()
	if len(w.messages) != 1 {
		t.Errorf("told %q, want one message", w.messages)
	}
	if _, err := Open(root, map[string]string{"encoder": "vit"}, dim, w.warn); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a folder that cannot be made gives %v", err)
	}
}

// More files than are kept open at once.
func TestManySegments(t *testing.T) {
	root, w := t.TempDir(), &told{}
	for i := range maxOpen + 10 {
		s := open(t, root, w)
		put(s, i, i+1)
		s.Close()
	}
	s := open(t, root, w)
	has(t, s, 0, maxOpen+10)
	if n := len(s.files.open); n == 0 || n > maxOpen {
		t.Errorf("%d files are open", n)
	}
}
