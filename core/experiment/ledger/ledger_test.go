package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, l Ledger, trial string) State {
	t.Helper()
	s, err := l.Read(trial)
	must(t, err)
	return s
}

func take(t *testing.T, l Ledger, trial string) *Lease {
	t.Helper()
	lease, err := l.Take(read(t, l, trial), Owner{Host: "here", PID: 1})
	must(t, err)
	return lease
}

// age makes a lease look as if its owner had given no sign of life for an hour.
func age(t *testing.T, l *Lease) {
	t.Helper()
	long := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(l.Path(leaseEnding), long, long))
}

func TestOfManyWhoWantATrialOneGetsIt(t *testing.T) {
	l := Ledger{Dir: t.TempDir(), Expiry: time.Hour}
	for round := range 3 {
		var got atomic.Int32
		var winner *Lease
		var wg sync.WaitGroup
		state := read(t, l, "a")
		for range 20 {
			wg.Go(func() {
				lease, err := l.Take(state, Owner{Host: "h"})
				if err != nil {
					t.Error(err)
				}
				if lease != nil {
					got.Add(1)
					winner = lease
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 || winner.Attempt() != round+1 {
			t.Fatalf("%d got the trial", got.Load())
		}
		if take(t, l, "a") != nil {
			t.Error("a trial that somebody makes was to be had")
		}
		must(t, winner.End(Outcome{Status: Interrupted, Why: Preempted, Step: round}))
	}
	s := read(t, l, "a")
	if len(s.Attempts) != 3 || s.Over() != nil || s.Last().End.Step != 2 {
		t.Errorf("%+v", s)
	}
	left, err := filepath.Glob(filepath.Join(l.Dir, "a", ".*"))
	if must(t, err); len(left) > 0 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestATrialThatIsDoneIsNotMadeAgain(t *testing.T) {
	l := Ledger{Dir: t.TempDir(), Expiry: time.Hour}
	lease := take(t, l, "a")
	old := read(t, l, "a")
	must(t, lease.End(Outcome{Status: Done, Step: 8}))
	if take(t, l, "a") != nil {
		t.Error("it was to be had")
	}
	if got, err := l.Take(old, Owner{}); got != nil || err != nil {
		t.Errorf("by a state of before it was to be had: %v", err)
	}
}

// An owner that was suspended for long finds that its trial was taken, and its outcome does not count.
func TestTheOutcomeOfAnOwnerThatWasTakenForDeadDoesNotCount(t *testing.T) {
	l := Ledger{Dir: t.TempDir(), Expiry: time.Minute} // no sign of life within the test
	first := take(t, l, "a")
	age(t, first)
	var second *Lease
	if second = take(t, l, "a"); second == nil {
		t.Fatal("the trial of a dead owner is not to be had")
	}
	if err := first.End(Outcome{Status: Done}); !errors.Is(err, ErrLost) {
		t.Errorf("the first one's end: %v", err)
	}
	must(t, second.End(Outcome{Status: Done}))
	s := read(t, l, "a")
	if len(s.Attempts) != 2 || s.Attempts[0].End.Status != Lost || s.Attempts[0].End.By == "" || s.Attempts[1].End.Status != Done {
		t.Errorf("%+v", s)
	}
}

func TestALiveOwnerKeepsItsTrialAndALostOneLearnsOfIt(t *testing.T) {
	l := Ledger{Dir: t.TempDir(), Expiry: 200 * time.Millisecond}
	lease := take(t, l, "a")
	lease.Report(Progress{Run: "r", Step: 3, Steps: 8})
	age(t, lease)
	for stale := true; stale; { // until the next sign of life
		var err error
		stale, err = l.IsStale("a", 1)
		must(t, err)
	}
	for p := (Progress{}); p.Step != 3; {
		p, _ = l.Progress("a", 1)
	}
	made, err := l.publish("a", fileName(1, endEnding), Outcome{Status: Lost}) // as another one would
	if must(t, err); !made {
		t.Fatal("no end could be written")
	}
	<-lease.Lost()
	if err := lease.End(Outcome{Status: Done}); !errors.Is(err, ErrLost) {
		t.Errorf("its end: %v", err)
	}
}

func TestAFolderThatIsNoneIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	if _, err := (Ledger{Dir: file}).Take(State{Trial: "a"}, Owner{}); err == nil {
		t.Error("a file was taken for a folder")
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a/0001.lease"), []byte("{"), 0o644))
	if _, err := (Ledger{Dir: dir}).Read("a"); err == nil {
		t.Error("half a file was read")
	}
}
