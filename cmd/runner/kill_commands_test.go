package main_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/results/store"
	"tandem/core/results/store/storetest"
)

// A merge, a collection, an export and a migration that are killed over and over, at random moments, end with the rows
// and files of one that was left alone once they are called again, and leave nothing else behind.
//
// Two kills of each by default; with TANDEM_LONG=1 forty.
func TestKilledCommandsAreCompleted(t *testing.T) {
	kills := 2
	if os.Getenv("TANDEM_LONG") != "" {
		kills = number(t, "TANDEM_COMMAND_KILLS", 40)
	}
	seed := number(t, "TANDEM_SEED", 1)
	for i, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		args []string
	}{
		{"merge", laboratory, []string{"merge", "other.db", "--db", "results.db"}},
		{"gc", littered, []string{"gc", "--yes", "--failed-older-than", "1d", "--db", "results.db", "--runs-dir", "runs"}},
		{"export", laboratory, []string{"export", "--parquet", "parquet", "--db", "other.db"}},
		{"migration", old, []string{"gc", "--yes", "--db", "results.db", "--runs-dir", "runs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), uint64(100+i)))
			origin := t.TempDir()
			c.make(t, origin)
			copied := func() string {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(origin)); err != nil {
					t.Fatal(err)
				}
				then := time.Now().Add(-24 * time.Hour) // as the folders of runs of long ago
				_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { return os.Chtimes(path, then, then) })
				return dir
			}
			calm := copied()
			began := time.Now()
			must(t, calm, c.args...)
			whole := time.Since(began)
			want := state(t, calm)
			ended := 0
			for done := 0; done < kills; {
				dir := copied()
				for range 1 + random.IntN(3) { // what was killed goes on from there and is killed again
					cmd := command(t, dir, c.args...)
					var stderr bytes.Buffer
					cmd.Stderr = &stderr
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(random.Float64() * float64(whole)))
					_ = cmd.Process.Kill()
					if err := cmd.Wait(); err == nil {
						ended++
					} else if cmd.ProcessState.ExitCode() != -1 {
						t.Fatalf("%v: %v\n%s", c.args, err, &stderr)
					} else {
						done++
					}
				}
				must(t, dir, c.args...)
				got := state(t, dir)
				for name, sum := range want {
					if got[name] != sum {
						t.Errorf("%s is not as after a %s that was left alone", name, c.name)
					}
					delete(got, name)
				}
				for name := range got {
					t.Errorf("%s is left", name)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d kills, %d times it had ended before", kills, ended)
		})
	}
}

// state returns a digest of every file below dir; of a database, of every row of every table.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			sums[name+"/"] = ""
			return nil
		case strings.HasSuffix(name, ".db"):
			rows(t, path, func(table string, row []any) {
				sums[name+" "+table] = fmt.Sprintf("%x", sha256.Sum256([]byte(sums[name+" "+table]+fmt.Sprint(row))))
			})
			return nil
		case strings.HasSuffix(name, ".db-wal"), strings.HasSuffix(name, ".db-shm"):
			return nil // of a command that was killed; its contents are the database's
		}
		data, err := os.ReadFile(path)
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// rows calls f for every row of every table of a database.
func rows(t *testing.T, path string, f func(table string, row []any)) {
	t.Helper()
	db := sqlite(t, path)
	defer db.Close()
	var tables []string
	each(t, db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", func(row []any) { tables = append(tables, row[0].(string)) })
	for _, table := range tables {
		each(t, db, "SELECT * FROM "+table, func(row []any) { f(table, row) })
	}
	each(t, db, "PRAGMA user_version", func(row []any) { f("user_version", row) })
}

func each(t *testing.T, db *sql.DB, query string, f func([]any)) {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		f(row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// sqlite opens a file as core/results/store does, which has the driver registered.
func sqlite(t *testing.T, path string) *sql.DB {
	t.Helper()
	_, _ = store.OpenReader("") // registers it
	db, err := sql.Open("tandem_rw", "file:"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

// laboratory makes a database with runs of all kinds to merge and to export, and another to merge into.
func laboratory(t *testing.T, dir string) {
	for name, size := range map[string]storetest.Size{"other.db": {Runs: 60, Metrics: 6, Points: 20, Seed: 1}, "results.db": {Runs: 3, Metrics: 2, Points: 2, Seed: 2}} {
		db, err := store.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := storetest.Fill(t.Context(), db, size, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// littered makes a database whose runs failed long ago, but for every third, and the folders of all of them.
func littered(t *testing.T, dir string) {
	laboratory(t, dir)
	if err := os.Remove(filepath.Join(dir, "results.db")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "results.db")
	if err := os.Rename(filepath.Join(dir, "other.db"), path); err != nil {
		t.Fatal(err)
	}
	db := sqlite(t, path)
	defer db.Close()
	if _, err := db.Exec("UPDATE run SET status = 'failed', ended_ms = session_ms WHERE id % 3 > 0; UPDATE run SET status = 'done' WHERE id % 3 = 0"); err != nil {
		t.Fatal(err)
	}
	each(t, db, "SELECT key, status = 'done' FROM run", func(row []any) {
		run := filepath.Join(dir, "runs", row[0].(string))
		for _, name := range []string{"spec.yaml", "logs/image.log", "checkpoints/step-00000010/state.json", "checkpoints/step-00000020.tmp/image.safetensors"} {
			file := filepath.Join(run, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Dir(file), filepath.Base(file), name)
		}
	})
}

// old makes a database of schema 3 with runs, settings and points.
func old(t *testing.T, dir string) {
	db := sqlite(t, filepath.Join(dir, "results.db"))
	defer db.Close()
	files, err := filepath.Glob("../../core/results/store/migrations/000[123]_*.sql")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`PRAGMA user_version = 3; PRAGMA journal_mode = WAL; BEGIN;
		INSERT INTO experiment (id, name, baseline, created_ms) VALUES (1, 'e', 'base', 0);
		INSERT INTO metric (id, name, better) VALUES (1, 'train/loss', -1);
		INSERT INTO run (id, key, experiment_id, variant, seed, status, started_ms, session_ms, heartbeat_ms, ended_ms, spec)
			WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
			SELECT i, printf('aaaaaaa%03d', i), 1, 'base', i, 'done', i, i, i, i + 1000, 'name: e' FROM n;
		INSERT INTO param SELECT id, 'lr', 'number', id / 1000.0 FROM run;
		INSERT INTO param SELECT id, 'pool', 'text', 'p' || (id % 7) FROM run;
		INSERT INTO point WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT r.id, 1, i, 0.5 FROM run r, n;
		INSERT INTO run_summary SELECT id, 1, 0.5, 0.5, 100, 0.5, 0.5, 0.5, 1, 100, 100, 50 FROM run; COMMIT`); err != nil {
		t.Fatal(err)
	}
}
