package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/fault"
)

// older makes a database of an older schema that holds a run with one point.
func older(t *testing.T, version int) string {
	t.Helper()
	registerDrivers()
	path := filepath.Join(t.TempDir(), "results.db")
	db, err := openWriter(path)
	must(t, err)
	defer db.Close()
	_, err = db.Exec(strings.Join(migrations()[:version], "") + "PRAGMA user_version = " + itoa(version))
	must(t, err)
	_, err = db.Exec(`INSERT INTO experiment (id, name, baseline, created_ms) VALUES (1, 'e', 'base', 0);
		INSERT INTO run (id, key, experiment_id, variant, seed, status, started_ms, session_ms, heartbeat_ms, ended_ms, spec)
			VALUES (1, 'aaaaaaaaaa', 1, 'base', 0, 'done', 0, 0, 0, 1000, 'name: e'), (2, 'bbbbbbbbbb', 1, 'other', 0, 'failed', 0, 0, 0, 1000, 'name: f');
		INSERT INTO metric (id, name, better) VALUES (1, 'train/loss', -1);
		INSERT INTO point VALUES (1, 1, 5, 0.5);
		INSERT INTO run_summary VALUES (1, 1, 0.5, 0.5, 5, 0.5, 0.5, 0.5, 5, 1, 1, 0.5);
		INSERT INTO param VALUES (1, 'lr', 'number', 0.001), (1, 'none', 'null', NULL), (1, 'train.batch_size', 'number', 8), (1, 'pool', 'text', 'avg'),
			(2, 'lr', 'number', 0.001), (2, 'none', 'null', NULL), (2, 'nan', 'number', NULL), (2, 'pool', 'text', 'attn');`)
	must(t, err)
	return path
}

func TestOlderSchemasKeepWhatTheyHold(t *testing.T) {
	for version := 2; version < 4; version++ {
		r, err := OpenReader(older(t, version))
		must(t, err)
		defer r.Close()
		a, err := r.Get(ctx, "aaaaaaaaaa")
		must(t, err)
		if a.Status != "done" || a.Spec != "name: e" || *a.SamplesSeen != 40 || a.Metrics["train/loss"].Last != 0.5 {
			t.Errorf("from schema %d: %+v", version, a)
		}
		if diff := cmp.Diff(map[string]any{"lr": 0.001, "none": nil, "train.batch_size": int64(8), "pool": "avg"}, a.Params); diff != "" {
			t.Errorf("from schema %d: %s", version, diff)
		}
		b, err := r.Get(ctx, "bbbbbbbbbb")
		must(t, err)
		if diff := cmp.Diff(map[string]any{"lr": 0.001, "none": nil, "nan": nil, "pool": "attn"}, b.Params); diff != "" || b.Status != "failed" || b.Spec != "name: f" {
			t.Errorf("from schema %d: %+v\n%s", version, b, diff)
		}
		stats, err := r.Query(ctx, "SELECT variant, n, mean FROM v_seed_stats")
		must(t, err)
		if diff := cmp.Diff([][]any{{"base", int64(1), 0.5}}, stats.Rows); diff != "" {
			t.Errorf("from schema %d: %s", version, diff)
		}
	}
}

func TestAnOlderSchemaStaysWhileItIsWrittenTo(t *testing.T) {
	path := older(t, 2)
	old, err := openWriter(path)
	must(t, err)
	host, _ := os.Hostname()
	_, err = old.Exec("UPDATE run SET status = 'running', host = ?, pid = ?, process = ? WHERE id = 2", host, os.Getpid(), processToken(os.Getpid()))
	must(t, err)
	_, err = Open(path)
	wantKind(t, err, fault.Conflict)
	_, err = old.Exec("UPDATE run SET status = 'done'")
	must(t, err)
	must(t, old.Close())
	db, err := Open(path)
	must(t, err)
	must(t, db.Close())
}
