package store_test

import (
	"path/filepath"
	"testing"

	"tandem/core/results/store"
)

func TestAMarkTellsThatSomebodyHasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	last := store.MarkOf(path)
	changed := func() bool {
		now := store.MarkOf(path)
		if !now.IsFile(last) {
			t.Error("it is another file")
		}
		was := last
		last = now
		return now != was
	}
	if changed() {
		t.Error("changed before anybody wrote")
	}
	if err := db.Plan(t.Context(), store.Experiment{Name: "x"}, nil); err != nil {
		t.Fatal(err)
	}
	if !changed() {
		t.Error("not changed after a transaction")
	}
	if changed() {
		t.Error("one transaction is told twice")
	}
}
