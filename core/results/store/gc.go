package store

import (
	"context"
	"database/sql"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// GCRules say which runs are no longer needed.
type GCRules struct {
	Experiment   string    // only runs of this experiment; "": of all
	FailedBefore time.Time // failed runs that ended before; zero: none
	Superseded   bool      // runs whose identity a newer run of the same experiment has, which is done and not tainted
}

// Why a run is no longer needed.
const (
	WhyFailed     = "failed"
	WhySuperseded = "superseded"
)

// UnneededRun names a run that rules choose.
type UnneededRun struct {
	RunInfo
	Why   string // failed or superseded
	Newer string // the run that supersedes it
}

const supersededBy = `(SELECT n.key FROM run n WHERE n.identity = r.identity AND n.experiment_id = r.experiment_id
	AND n.status = 'done' AND NOT n.tainted AND (n.started_ms, n.id) > (r.started_ms, r.id)
	ORDER BY n.started_ms DESC, n.id DESC LIMIT 1)`

// Unneeded returns the runs that rules choose, oldest first. Runs that are recorded as running are never among them: call MarkDead
// first. Errors: fault.NotFound when there is no such experiment.
func (r *Reader) Unneeded(ctx context.Context, rules GCRules) ([]UnneededRun, error) {
	if rules.Experiment != "" {
		if _, err := r.Experiment(ctx, rules.Experiment); err != nil {
			return nil, err
		}
	}
	var before int64
	if !rules.FailedBefore.IsZero() {
		before = rules.FailedBefore.UnixMilli()
	}
	return collect(ctx, r, func(rows *sql.Rows) (u UnneededRun, err error) {
		var newer sql.NullString
		err = rows.Scan(append(u.columns(), &newer)...)
		if u.Why, u.Newer = WhyFailed, newer.String; newer.Valid {
			u.Why = WhySuperseded
		}
		return u, err
	}, `WITH chosen AS (
			SELECT r.key, r.started_ms, r.id, r.status, r.ended_ms,
				CASE WHEN ?3 AND r.identity <> '' THEN `+supersededBy+` END AS newer
			FROM run r JOIN experiment e ON e.id = r.experiment_id
			WHERE r.status <> 'running' AND (?1 = '' OR e.name = ?1)
		)
		SELECT `+runColumns+`, c.newer FROM chosen c CROSS JOIN v_runs v ON v.run_id = c.key
		WHERE c.newer IS NOT NULL OR c.status = 'failed' AND c.ended_ms < ?2
		ORDER BY c.started_ms, c.id`, rules.Experiment, before, rules.Superseded)
}

// RunStates returns the states of all runs by id.
func (r *Reader) RunStates(ctx context.Context) (map[string]clip.Status, error) {
	type state struct {
		id     string
		status clip.Status
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (s state, err error) {
		err = rows.Scan(&s.id, &s.status)
		return s, err
	}, "SELECT key, status FROM run")
	states := make(map[string]clip.Status, len(all))
	for _, s := range all {
		states[s.id] = s.status
	}
	return states, err
}

// RunIDs returns the ids of the runs in the file at path, of any schema; none when it is no results database. It does not change
// the file.
func RunIDs(ctx context.Context, path string) ([]string, error) {
	if c, err := inspect(path); err != nil || c.objects == 0 {
		if k := fault.KindOf(err); err == nil || k == fault.Invalid || k == fault.Corrupt {
			return nil, nil
		}
		return nil, err
	}
	r, err := openReader(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ids, err := collect(ctx, r, scanName, "SELECT key FROM run")
	if k := fault.KindOf(err); k == fault.Corrupt || k == fault.Internal { // no database, no such table
		return nil, nil
	}
	return ids, err
}

// Settings returns the distinct texts that runs have at a key of their specs.
func (r *Reader) Settings(ctx context.Context, key string) ([]string, error) {
	return collect(ctx, r, scanName, "SELECT DISTINCT value FROM setting WHERE key = ? AND type = 'text' AND value <> ''", key)
}

// DeleteRun forgets a run with all that is recorded of it. fault.Conflict when a live process makes it,
// fault.NotFound when it is not there.
func (db *DB) DeleteRun(ctx context.Context, id string) error {
	return db.w.task(ctx, func(b *batch) error {
		run, err := b.idleRun(id)
		if err != nil {
			return err
		}
		for _, table := range runTables {
			if _, err := b.exec("DELETE FROM "+table+" WHERE run_id = ?", run.row); err != nil {
				return err
			}
		}
		_, err = b.exec("DELETE FROM run WHERE id = ?", run.row)
		return err
	})
}

// DropCheckpoints forgets the checkpoints of a run of some steps. Errors are those of DeleteRun, and
// fault.Conflict when the run is not done any more.
func (db *DB) DropCheckpoints(ctx context.Context, id string, steps []int) error {
	return db.w.task(ctx, func(b *batch) error {
		run, err := b.idleRun(id)
		if err != nil {
			return err
		}
		if run.status != clip.StatusDone && run.status != clip.StatusStopped {
			return fault.New(fault.Conflict, "run %s is %s, its checkpoints are needed", id, run.status)
		}
		for _, step := range steps {
			if _, err := b.exec("DELETE FROM checkpoint WHERE run_id = ? AND step = ?", run.row, step); err != nil {
				return err
			}
		}
		return nil
	})
}

// idleRun returns a run that no live process makes.
func (b *batch) idleRun(id string) (owned, error) {
	runs, err := b.owned("key = ?", id)
	switch {
	case err != nil:
		return owned{}, err
	case len(runs) == 0:
		return owned{}, fault.New(fault.NotFound, "there is no run %s", id)
	case runs[0].alive:
		return owned{}, fault.New(fault.Conflict, "run %s is in progress in %s", id, runs[0].owner())
	}
	return runs[0], nil
}

const unusedExamples = "FROM example_set WHERE NOT EXISTS (SELECT 1 FROM prediction p WHERE p.example_set_id = example_set.id)"

// UnusedExamples counts the example sets that no prediction is over, and their bytes.
func (r *Reader) UnusedExamples(ctx context.Context) (n int, bytes int64, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(length(data)), 0) "+unusedExamples).Scan(&n, &bytes)
	return n, bytes, diskFault(r.path, err)
}

// DeleteUnusedExamples deletes the example sets that no prediction is over.
func (db *DB) DeleteUnusedExamples(ctx context.Context) error {
	return db.w.task(ctx, func(b *batch) error {
		_, err := b.exec("DELETE " + unusedExamples)
		return err
	})
}

// FreeBytes returns the space in the file that holds nothing.
func (r *Reader) FreeBytes(ctx context.Context) (n int64, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&n)
	return n, diskFault(r.path, err)
}

// vacuumPages limits what Shrink gives back in one transaction, which takes a few milliseconds; others write between two.
const vacuumPages = 256

// Shrink gives back the space that holds nothing while others write, and tells whether it can: databases that were made
// before this was thought of cannot, until Compact has written them anew.
func Shrink(ctx context.Context, path string) (able bool, err error) {
	err = maintain(path, func(db *sql.DB) error {
		var mode, free int
		if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil {
			return err
		}
		if able = mode == 2; !able {
			return nil
		}
		for {
			if err := db.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil || free == 0 {
				return err
			}
			before := free
			err := retryBusy(path, nil, within(openPatience), func() error {
				transactions.RLock()
				defer transactions.RUnlock()
				if err := ctx.Err(); err != nil {
					return err
				}
				_, err := db.ExecContext(ctx, "PRAGMA incremental_vacuum("+itoa(vacuumPages)+")")
				return err
			})
			if err != nil {
				return err
			}
			if err := db.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil || free >= before {
				return err
			}
		}
	})
	return able, err
}

// Compact writes the database at path anew without the space that holds nothing, and so that Shrink can give back what
// comes to hold nothing from now on. Others wait meanwhile; it waits for them. fault.Conflict when another process keeps it
// locked.
func Compact(ctx context.Context, path string) error {
	return maintain(path, func(db *sql.DB) error {
		return retryBusy(path, nil, within(busyTimeout), func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := db.ExecContext(ctx, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM")
			return err
		})
	})
}

// MoveLog moves what lies in the log beside the database at path into its file, as far as nobody reads
// it just now.
func MoveLog(path string) error { return maintain(path, func(*sql.DB) error { return nil }) }

func maintain(path string, do func(*sql.DB) error) error {
	db, err := openWriter(path)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := do(db); err != nil {
		return diskFault(path, err)
	}
	var busy, log, moved int // busy: somebody reads the log, and it stays
	return diskFault(path, db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved))
}
