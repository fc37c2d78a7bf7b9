package store_test

import (
	"path/filepath"
	"testing"

	"tandem/core/results/store"
)

func TestAWatchTellsThatAnotherConnectionHasWritten(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w, err := db.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	changed := func() bool {
		t.Helper()
		c, err := w.Changed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
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
