package gallery

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func shelf(t *testing.T, l lab.Lab, limits ShelfLimits) *Shelf {
	t.Helper()
	s := NewShelf(l, limits)
	t.Cleanup(func() { labtest.Must(t, s.Close()) })
	return s
}

// One run serves all trials of a shelf.
func TestShelf(t *testing.T) {
	l, d := recorded(t)
	for name, try := range map[string]func(*testing.T, lab.Lab, *store.RunDetail){
		"a shelf starts a dataset once":                   aShelfStartsADatasetOnce,
		"a shelf closes what nobody asks":                 aShelfClosesWhatNobodyAsks,
		"a full shelf closes the oldest":                  aFullShelfClosesTheOldest,
		"a shelf remembers why nothing opens":             aShelfRemembersWhyNothingOpens,
		"a shelf opens again what died":                   aShelfOpensAgainWhatDied,
		"who leaves does not keep a dataset from opening": whoLeavesDoesNotKeepADatasetFromOpening,
	} {
		t.Run(name, func(t *testing.T) { try(t, l, d) })
	}
}

// pid returns the process of the only book on a shelf.
func pid(t *testing.T, s *Shelf) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.books) != 1 {
		t.Fatalf("%d datasets are open", len(s.books))
	}
	for _, b := range s.books {
		return b.data.Process.PID()
	}
	return 0
}

func aShelfStartsADatasetOnce(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 2, Idle: time.Hour, Retry: time.Hour})
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			a, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6, Indices: []int{i}, Keys: []string{"dot-" + string(rune('0'+i))}})
			if err != nil || a.Pictures[0] == nil || len(a.Classes) != 2 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	wait.Wait()
	first := pid(t, s)
	if _, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}); err != nil || pid(t, s) != first {
		t.Errorf("another process, or %v", err)
	}
	if nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, first); err != nil || nice != 10 { // the system call gives 20 - nice
		t.Errorf("the priority is %d, %v", nice, err)
	}
}

func aShelfClosesWhatNobodyAsks(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 2, Idle: time.Millisecond, Retry: time.Hour})
	_, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6})
	labtest.Must(t, err)
	for s.Len() > 0 { // the test's time limit ends it
		time.Sleep(time.Millisecond)
	}
	if _, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func aFullShelfClosesTheOldest(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 1, Idle: time.Hour, Retry: time.Hour})
	for _, side := range []int{6, 7} {
		_, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: side})
		labtest.Must(t, err)
	}
	b, err := s.take(t.Context(), Request{Run: d, Evaluation: "dots", Side: 7}) // in use
	labtest.Must(t, err)
	if _, err := s.Open(t.Context(), Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}); fault.KindOf(err) != fault.Exhausted || s.Len() != 1 {
		t.Errorf("%d open, %v", s.Len(), err)
	}
	s.leave(b, false)
}

// What cannot be opened is not tried at each request.
func aShelfRemembersWhyNothingOpens(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 2, Idle: time.Hour, Retry: time.Hour})
	file := filepath.Join(l.Dir(d.ID), lab.SpecFile)
	text, err := os.ReadFile(file)
	labtest.Must(t, err)
	labtest.Must(t, os.Remove(file))
	q := Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}
	if _, err := s.Open(t.Context(), q); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without a spec of one's own: %v", err)
	}
	labtest.Must(t, os.WriteFile(file, text, 0o644))
	if _, err := s.Open(t.Context(), q); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("tried again at once: %v", err)
	}
}

func aShelfOpensAgainWhatDied(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 2, Idle: time.Hour, Retry: time.Hour})
	q := Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6, Indices: []int{1}, Keys: []string{"dot-1"}}
	_, err := s.Open(t.Context(), q)
	labtest.Must(t, err)
	labtest.Must(t, syscall.Kill(pid(t, s), syscall.SIGKILL))
	if _, err := s.Open(t.Context(), q); err == nil {
		t.Error("a dead plugin answers")
	}
	if _, err := s.Open(t.Context(), q); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func whoLeavesDoesNotKeepADatasetFromOpening(t *testing.T, l lab.Lab, d *store.RunDetail) {
	s := shelf(t, l, ShelfLimits{Most: 2, Idle: time.Hour, Retry: time.Hour})
	q := Request{Run: d, Evaluation: "dots", Target: "parity", Side: 6}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Open(gone, q); err != nil && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
	if _, err := s.Open(t.Context(), q); err != nil {
		t.Errorf("%v", err)
	}
	labtest.Must(t, s.Close())
	if _, err := s.Open(t.Context(), q); fault.KindOf(err) != fault.Canceled {
		t.Errorf("a closed shelf: %v", err)
	}
}
