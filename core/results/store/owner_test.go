package store

import (
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// foreign makes another program's database, in rollback or WAL mode; with open it still is when the test goes on.
func foreign(t *testing.T, mode, more string) (path string, db *sql.DB) {
	t.Helper()
	registerDrivers()
	path = filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("tandem_rw", dsn(path, ""))
	must(t, err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA journal_mode=" + mode + "; CREATE TABLE notes (a); INSERT INTO notes VALUES (1);" + more)
	must(t, err)
	return path, db
}

// listing returns the names and contents of the files in a folder.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

func TestAnotherProgramsDatabaseIsNeverWritten(t *testing.T) {
	for _, c := range []struct{ mode, more string }{
		{"DELETE", ""},
		{"WAL", ""},
		{"DELETE", "PRAGMA user_version = 3"},
		{"DELETE", "PRAGMA user_version = 300"},
		{"WAL", "PRAGMA application_id = 1196444487"},
		{"DELETE", "CREATE TABLE run (id); CREATE TABLE experiment (id); CREATE TABLE metric (id)"},
		{"DELETE", "DROP TABLE notes; PRAGMA user_version = 2"},
	} {
		for _, open := range []bool{false, true} {
			path, db := foreign(t, c.mode, c.more)
			if !open {
				must(t, db.Close())
			}
			before := listing(t, filepath.Dir(path))
			_, err := OpenReader(path)
			wantKind(t, err, fault.Invalid)
			_, err = Open(path)
			wantKind(t, err, fault.Invalid)
			_, err = Merge(ctx, path, path+"x", MergeOptions{})
			if err == nil {
				t.Error("merged into it")
			}
			if _, err := RunIDs(context.Background(), path); err != nil {
				t.Error(err)
			}
			after := listing(t, filepath.Dir(path))
			for _, name := range []string{"app.db", "app.db-wal"} {
				if before[name] != after[name] {
					t.Errorf("%+v, open %v: %s changed", c, open, name)
				}
			}
			if len(after) != len(before) {
				t.Errorf("%+v, open %v: files were made: %v", c, open, len(after))
			}
			if open {
				must(t, db.Close())
			}
		}
	}
}

func TestReadersMakeNothing(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.db")
	must(t, os.WriteFile(empty, nil, 0o644))
	_, err := OpenReader(empty)
	wantKind(t, err, fault.Invalid)
	_, err = OpenReader(filepath.Join(dir, "below", "none.db"))
	wantKind(t, err, fault.NotFound)
	if files := listing(t, dir); len(files) != 1 || files["empty.db"] != "" {
		t.Errorf("made %v", files)
	}

	path := filepath.Join(dir, "results.db")
	db, err := Open(path)
	must(t, err)
	begin(t, db, RunMeta{})
	must(t, db.Close())
	before := listing(t, dir)
	for range 2 {
		r, err := OpenReader(path)
		must(t, err)
		if r.Copied() {
			t.Error("a copy of the present schema was made")
		}
		_, err = r.Runs(ctx, Filter{})
		must(t, err)
		must(t, r.Close())
	}
	if after := listing(t, dir); len(after) != len(before) || after["results.db"] != before["results.db"] {
		t.Errorf("reading left %d files of %d, or changed one", len(after), len(before))
	}

	old := older(t, 3)
	before = listing(t, filepath.Dir(old))
	r, err := OpenReader(old)
	must(t, err)
	if _, err := r.Get(ctx, "aaaaaaaaaa"); err != nil || !r.Copied() {
		t.Error("an older schema is not read", err)
	}
	copied := r.copied
	must(t, r.Close())
	if after := listing(t, filepath.Dir(old)); len(after) != len(before) || after["results.db"] != before["results.db"] {
		t.Error("reading changed a database of an older schema")
	}
	if _, err := os.Stat(filepath.Dir(copied)); err == nil {
		t.Error("the copy is left")
	}
}

func TestADatabaseIsMarkedAsOurs(t *testing.T) {
	db := open(t)
	var id int
	must(t, db.w.conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id))
	if id != applicationID {
		t.Errorf("application_id is %#x", id)
	}
}

// A database from elsewhere whose views never end is read with tandem's own, and its triggers are gone.
func TestViewsOfAStrangerAreNotRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := Open(path)
	must(t, err)
	run := begin(t, db, RunMeta{})
	must(t, run.Finish(ctx, "done", nil))
	must(t, db.Close())
	mine, err := openWriter(path)
	must(t, err)
	_, err = mine.Exec("CREATE VIEW mine AS SELECT 1 AS one")
	must(t, err)
	r, err := OpenReader(path)
	must(t, err)
	if _, err := r.Query(ctx, "SELECT one FROM mine"); err != nil || r.Copied() {
		t.Errorf("with a view of one's own: %v, copied %v", err, r.Copied())
	}
	must(t, r.Close())
	_, err = mine.Exec(`DROP VIEW v_runs; CREATE VIEW v_runs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS run_id FROM n;
		CREATE TRIGGER t AFTER UPDATE ON run BEGIN DELETE FROM point; END`)
	must(t, err)
	must(t, mine.Close())
	r, err = OpenReader(path)
	must(t, err)
	defer r.Close()
	runs, err := r.Runs(ctx, Filter{})
	if err != nil || len(runs) != 1 || !r.Copied() {
		t.Errorf("%d runs, %v, copied %v", len(runs), err, r.Copied())
	}
	into := filepath.Join(t.TempDir(), "into.db")
	m, err := Merge(ctx, into, path, MergeOptions{})
	if err != nil || m.Added != 1 {
		t.Errorf("merged %+v, %v", m, err)
	}
}

func TestWhatTandemNeverWroteIsCorrupt(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	must(t, run.Finish(ctx, "done", nil))
	_, err := db.w.conn.ExecContext(ctx, "UPDATE run SET seed = 'seven'")
	must(t, err)
	_, err = db.Runs(ctx, Filter{})
	wantKind(t, err, fault.Corrupt)

	var bomb bytes.Buffer
	bomb.WriteByte(packVersion)
	w, err := flate.NewWriter(&bomb, flate.BestSpeed)
	must(t, err)
	block := make([]byte, 1<<20)
	for range unpackLimit>>20 + 1 {
		w.Write(block)
	}
	must(t, w.Close())
	wantKind(t, unpackExamples(bomb.Bytes(), 1<<40, func([]byte, int32) {}), fault.Corrupt)
}

func TestSpaceIsGivenBackWhileOthersWrite(t *testing.T) {
	db := open(t)
	run := begin(t, db, RunMeta{})
	other := begin(t, db, RunMeta{Spec: strings.Repeat("long ", 1_000_000)})
	must(t, other.Finish(ctx, "failed", nil))
	must(t, db.DeleteRun(ctx, other.ID()))
	before, err := db.FreeBytes(ctx)
	must(t, err)
	able, err := Shrink(ctx, db.Path())
	must(t, err)
	after, err := db.FreeBytes(ctx)
	must(t, err)
	if !able || before < 4_000_000 || after != 0 {
		t.Errorf("able %v, %d bytes hold nothing, %d after", able, before, after)
	}
	must(t, run.Metrics(1, []clip.Metric{{Name: "x", Value: 1}}))
	must(t, run.Finish(ctx, "done", nil))
	if able, err := Shrink(ctx, older(t, 3)); able || err != nil {
		t.Errorf("a database of before: able %v, %v", able, err)
	}
}
