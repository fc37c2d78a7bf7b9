// Package feature keeps features of towers that do not change: rows f32 [D] by key, in files that
// outlive the run.
//
// A Store is a folder of segments. A segment is written once, whole, under a temporary name and renamed;
// nothing is ever changed in place, so that any number of processes may read and add at the same time,
// and one that is killed loses what it had not written yet and nothing else. Whatever does not check is
// left out: features can always be computed again. The layout of a segment is in segment.go.
package feature

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/core/fault"
)

// A Store writes what it holds in memory when it is so much, or after so long.
const (
	flushBytes = 4 << 20
	flushAfter = 20 * time.Second
)

// key hashes the name of a feature.
type key [16]byte

func keyOf(name string) (k key) {
	sum := sha256.Sum256([]byte(name))
	copy(k[:], sum[:])
	return k
}

// place tells where a feature lies: in a row of a segment, or, where the segment is nil, among those that are not
// written yet.
type place struct {
	from *segment
	row  int
}

// A Store holds one set of features. Several goroutines may use it, and several processes its folder.
type Store struct {
	dir      string
	identity [sha256.Size]byte
	dim      int
	warn     func(string)

	mu      sync.Mutex
	rows    map[key]place
	keys    []key     // not written yet
	values  []float32 // of these
	since   time.Time // the oldest of these
	stopped bool      // writing failed: nothing is added any more
	files   files
}

// Root returns the folder in which runs keep features, in the user's cache folder.
func Root() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fault.New(fault.Unavailable, "the user's cache folder: %w", err)
	}
	return filepath.Join(dir, "tandem", "features"), nil
}

// Open opens the set of features that determined identifies, below the folder root, and reads which features there
// are. determined holds all that a feature depends on beside its name; its JSON is also left in the folder for people.
// dim is D. warn is told of files that are left out and of a disk that takes no more; any method may call it. A folder
// that cannot be made is fault.Unavailable.
func Open(root string, determined any, dim int, warn func(string)) (*Store, error) {
	text, err := json.MarshalIndent(determined, "", "  ")
	if err != nil {
		return nil, fault.New(fault.Internal, "features: %w", err)
	}
	s := &Store{identity: sha256.Sum256(text), dim: dim, warn: warn, rows: map[key]place{}}
	s.dir = filepath.Join(root, fmt.Sprintf("%x", s.identity[:16]))
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fault.New(fault.Unavailable, "features: %w", err)
	}
	about := filepath.Join(s.dir, "about.json")
	if _, err := os.Stat(about); err != nil {
		if err := write(about, append(text, '\n')); err != nil {
			return nil, fault.New(fault.Unavailable, "features: %w", err)
		}
	}
	return s, s.load()
}

// load reads the indices of all segments. Where two have the same key either may win: equal keys have equal
// features.
func (s *Store) load() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+ending))
	if err != nil {
		return fault.New(fault.Internal, "features: %w", err)
	}
	for _, name := range names {
		g, err := readIndex(name, s.identity, s.dim)
		if err != nil {
			s.discard(name, err)
			continue
		}
		for i, k := range g.keys {
			s.rows[k] = place{g, i}
		}
		g.keys = nil
	}
	removeStale(s.dir)
	return nil
}

// discard moves a damaged file out of the way and tells of it.
func (s *Store) discard(name string, why error) {
	s.warn(fmt.Sprintf("%s is set aside as *.bad, its features are computed again: %v", name, why))
	_ = os.Rename(name, name+".bad") // where that is not allowed it is left out again the next time
}

// Dir returns the folder of the set.
func (s *Store) Dir() string { return s.dir }

// Dim returns D, the number of values of a feature.
func (s *Store) Dim() int { return s.dim }

// Len returns how many features there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// Has reports whether there is a feature by that name.
func (s *Store) Has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.rows[keyOf(name)]
	return ok
}

// Get copies the feature by that name to row, f32 [D]. It returns false when there is none.
func (s *Store) Get(name string, row []float32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.rows[keyOf(name)]
	if !ok {
		return false
	}
	if at.from == nil {
		copy(row, s.values[at.row*s.dim:(at.row+1)*s.dim])
		return true
	}
	if err := at.from.read(&s.files, at.row, row); err != nil {
		for k, p := range s.rows {
			if p.from == at.from {
				delete(s.rows, k)
			}
		}
		s.files.forget(at.from.name)
		s.discard(at.from.name, err)
		return false
	}
	return true
}

// Put keeps a feature under a name that has none yet. It never fails: what the disk does not take is computed again
// when it is next wanted.
func (s *Store) Put(name string, row []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(name)
	if _, known := s.rows[k]; known || s.stopped {
		return
	}
	if len(s.keys) == 0 {
		s.since = time.Now()
	}
	s.rows[k] = place{nil, len(s.keys)}
	s.keys, s.values = append(s.keys, k), append(s.values, row[:s.dim]...)
	if len(s.values)*4 >= flushBytes || time.Since(s.since) >= flushAfter {
		s.flush()
	}
}

// flush writes the features that are only in memory.
func (s *Store) flush() {
	if len(s.keys) == 0 || s.stopped {
		return
	}
	g, err := writeSegment(s.dir, s.identity, s.keys, s.values, s.dim)
	if err != nil {
		s.stopped = true // what is in memory stays
		s.warn(fmt.Sprintf("no more features are kept: %v", err))
		return
	}
	for i, k := range s.keys {
		s.rows[k] = place{g, i}
	}
	s.keys, s.values = nil, nil
}

// Close writes the features that are only in memory. The store must not be used afterwards.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	s.files.close()
}
