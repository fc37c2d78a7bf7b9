package store

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestTheDigestsOfARunStayThoseItBeganWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := Open(path)
	must(t, err)
	defer db.Close()
	run := begin(t, db, RunMeta{})
	set := func(train, emoji string, goesOn bool, want ...string) {
		t.Helper()
		changed, err := run.SetDatasets(ctx, map[string]string{DataRole: train, "eval.emoji": emoji}, goesOn)
		must(t, err)
		if !slices.Equal(changed, want) {
			t.Errorf("%s %s, goes on %v: changed %q, want %q", train, emoji, goesOn, changed, want)
		}
	}
	set("a", "b", false)
	set("a", "b", true)
	set("a", "c", true, "eval.emoji")
	set("x", "c", true, DataRole, "eval.emoji")
	detail := func() (string, any) {
		t.Helper()
		must(t, run.Flush(ctx))
		r, err := OpenReader(path)
		must(t, err)
		defer r.Close()
		d, err := r.Get(ctx, run.ID())
		must(t, err)
		return d.DatasetDigest, d.Facts["eval.emoji.digest"]
	}
	if train, eval := detail(); train != "a" || eval != "b" {
		t.Errorf("recorded are %s and %v after a refusal", train, eval)
	}
	set("x", "y", false, DataRole, "eval.emoji") // started over
	if train, eval := detail(); train != "x" || eval != "y" {
		t.Errorf("recorded are %s and %v after starting over", train, eval)
	}
}
