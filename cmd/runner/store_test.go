package main_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

// filled makes a database of 30 runs in dir, of which one failed.
func filled(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := storetest.Fill(context.Background(), db, storetest.Size{Runs: 30, Metrics: 3, Points: 2}, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDatabaseCommands(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir, "results.db")
	filled(t, dir, "other.db")
	ok := func(args ...string) string { t.Helper(); return must(t, dir, args...) }
	var best []store.RunInfo
	if err := json.Unmarshal([]byte(ok("leaderboard", "study-000", "--db", "results.db", "--json", "-n", "3")), &best); err != nil {
		t.Fatal(err)
	}
	if len(best) != 3 || *best[0].Value < *best[1].Value || *best[1].Value < *best[2].Value || best[0].Metric != storetest.Metric {
		t.Errorf("leaderboard: %+v", best)
	}
	if out := ok("merge", "other.db", "--db", "results.db", "--dry-run"); !strings.Contains(out, "nothing is changed: 30 runs added") {
		t.Errorf("merge --dry-run: %s", out)
	}
	for _, want := range []string{"30 runs added, 0 updated, 0 unchanged", "0 runs added, 0 updated, 30 unchanged"} {
		if out := ok("merge", "other.db", "--db", "results.db"); !strings.Contains(out, want) {
			t.Errorf("merge: %s, want %s", out, want)
		}
	}
	if r := try(t, dir, "merge", "results.db", "--db", "results.db"); r.code != 2 || !strings.Contains(r.stderr, "same file") {
		t.Errorf("merge with itself: %d %s", r.code, r.stderr)
	}
	var files []struct {
		Path string
		Rows int64
	}
	if err := json.Unmarshal([]byte(ok("export", "--parquet", "parquet", "--db", "results.db", "--json")), &files); err != nil {
		t.Fatal(err)
	}
	if len(files) != len(store.Views()) || files[0].Path != "parquet/runs.parquet" || files[0].Rows != 60 {
		t.Errorf("export: %+v", files)
	}
	for _, bad := range [][]string{{"export"}, {"export", "latest", "--parquet", "x"}, {"export", "latest"}, {"export", "latest", "-o", "x", "--experiment", "y"}, {"export", "--parquet", "x", "--experiment", "y"}} {
		if r := try(t, dir, append(bad, "--db", "results.db")...); r.code != 2 || !strings.Contains(r.stderr, "hint:") {
			t.Errorf("%v: %d %s", bad, r.code, r.stderr)
		}
	}
	if out := ok("gc", "--db", "results.db", "--runs-dir", "runs"); !strings.Contains(out, "nothing to delete") {
		t.Errorf("gc: %s", out)
	}
	// Of the first database all but the run that was stopped early, and the one that failed in the second.
	gc := []string{"gc", "--db", "results.db", "--runs-dir", "runs", "--superseded", "--experiment", "study-000"}
	if out := ok(gc...); !strings.Contains(out, "superseded by") || !strings.Contains(out, "nothing was deleted; --yes deletes it") {
		t.Errorf("gc --superseded: %s", out)
	}
	if out := ok(append(gc, "--yes")...); !strings.Contains(out, "30 deleted") {
		t.Errorf("gc --superseded --yes: %s", out)
	}
	if out := ok(gc...); !strings.Contains(out, "nothing to delete") {
		t.Errorf("gc after gc: %s", out)
	}
	for _, bad := range [][]string{{"gc", "--failed-older-than", "soon"}, {"gc", "--failed-older-than", "-3d"}, {"gc", "--experiment", "x"}} {
		if r := try(t, dir, append(bad, "--db", "results.db")...); r.code != 2 || !strings.Contains(r.stderr, "hint:") {
			t.Errorf("%v: %d %s", bad, r.code, r.stderr)
		}
	}
}
