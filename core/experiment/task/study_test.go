package task

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
)

// What a killed task made is merged by who waits for its lease; what was taken meanwhile is told apart from what nobody made.
func TestMergeTakesWhatAKilledTaskHad(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	stop := make(chan struct{})
	_, err := Run(context.Background(), b, Options{}, stop, &tape{step: func(_ bundle.Trial, step int) {
		if step == 3 {
			close(stop)
		}
	}})
	must(t, err)
	books, trial := ledger.Ledger{Dir: b.TrialsDir(), Expiry: time.Hour}, b.Trials()[0]
	before, err := look(b, books, trial, 0)
	must(t, err)
	must(t, os.WriteFile(books.FilePath(trial.ID, 2, ".lease"), []byte("{}\n"), 0o644)) // of a process that gives no signs of life
	g, err := Merge(context.Background(), b, l.DB, MergeOptions{Expiry: time.Hour}, ledger.Owner{})
	if err != nil || g.Trials != 0 || g.Going != 1 {
		t.Errorf("while the lease is fresh: %+v, %v", g, err)
	}
	now := time.Now()
	must(t, os.Chtimes(books.FilePath(trial.ID, 2, ".lease"), now, now))
	g, err = Merge(context.Background(), b, l.DB, MergeOptions{Expiry: 2 * time.Second, Wait: true}, ledger.Owner{})
	if err != nil || g.Trials != 1 || g.Going != 0 || g.Added != 1 {
		t.Errorf("who waits: %+v, %v", g, err)
	}

	one, whole := filepath.Join(t.TempDir(), "one.db"), l.DB
	must(t, os.Rename(books.FilePath(trial.ID, 1, databaseEnding), books.FilePath(trial.ID, 2, databaseEnding)))
	if _, err := before.collect(context.Background(), books, one, whole); !errors.Is(err, errGoing) {
		t.Errorf("taken since it was looked at: %v", err)
	}
}

func TestATrialThatWasAdoptedFromAnotherDatabaseIsTold(t *testing.T) {
	l := labtest.New(t)
	b := freeze(t, l, labtest.Text)
	made, err := run.Start(context.Background(), l, labtest.Spec(t, l), never(), run.Quiet{})
	must(t, err)
	lease, err := ledger.Ledger{Dir: b.TrialsDir()}.Take(ledger.State{Trial: b.Trials()[0].ID}, ledger.Owner{})
	must(t, err)
	must(t, lease.End(ledger.Outcome{Status: ledger.Done, Run: made.ID}))
	all, err := Survey(b, 1, 0)
	must(t, err)
	for db, want := range map[string]int{l.DB: 0, filepath.Join(t.TempDir(), "other.db"): 1} {
		if lacking, err := Lacking(context.Background(), b, db, all); err != nil || len(lacking) != want {
			t.Errorf("%s lacks %+v, %v; want %d", db, lacking, err, want)
		}
	}
}
