package store

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"tandem/core/fault"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations reads migrations/*.sql in order; the first brings version 0 to version 1.
var migrations = sync.OnceValue(func() []string {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err)
	}
	texts := make([]string, len(names))
	for i, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(err)
		}
		texts[i] = string(text)
	}
	return texts
})

// migrate brings the schema up to date: PRAGMA user_version counts the files that were applied. The
// lock is taken before the version is read, so two processes that open a new file do it once.
func migrate(conn *sql.Conn, path string, notify waiting) error {
	ctx := context.Background()
	version := func() (v int, err error) {
		err = conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
		return v, err
	}
	have, err := version()
	if err != nil {
		return err
	}
	want := len(migrations())
	if have > want {
		return newerFault(path, have)
	}
	// Outside a transaction, as SQLite demands; a no-op on a file that is in WAL mode already.
	if err := retryBusy(path, notify, within(openPatience), func() error {
		var mode string
		if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode=WAL").Scan(&mode); err != nil {
			return err
		}
		if mode != "wal" {
			return fault.New(fault.Unavailable, "results database %s: this file system gives no shared memory for WAL (journal mode %s)", path, mode).
				WithHint("keep the database on a local disk: --db FILE")
		}
		return nil
	}); err != nil {
		return err
	}
	if have == want {
		return nil
	}
	return retryBusy(path, notify, within(openPatience), func() error {
		transactions.RLock()
		defer transactions.RUnlock()
		if _, err := conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
			return err
		}
		err := func() error {
			have, err := version()
			if err != nil {
				return err
			}
			if have > want {
				return newerFault(path, have)
			}
			var objects int
			if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
				return err
			}
			if have == 0 && objects > 0 { // another program's since Open looked
				return notOurs(path)
			}
			if have > 0 && have < want {
				if err := refuseWhileUsed(conn, path, have); err != nil {
					return err
				}
			}
			for i := have; i < want; i++ {
				if _, err := conn.ExecContext(ctx, migrations()[i]); err != nil {
					return err
				}
			}
			_, err = conn.ExecContext(ctx, "PRAGMA application_id="+strconv.Itoa(applicationID)+"; PRAGMA user_version="+strconv.Itoa(want))
			return err
		}()
		if err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
		if err != nil {
			conn.ExecContext(ctx, "ROLLBACK")
		}
		return err
	})
}

// refuseWhileUsed refuses to change the schema under an older program that is writing a run.
func refuseWhileUsed(conn *sql.Conn, path string, version int) error {
	host, _ := os.Hostname()
	rows, err := conn.QueryContext(context.Background(), "SELECT key, host, pid, process, heartbeat_ms FROM run WHERE status = 'running'")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var p process
		if err := rows.Scan(&key, &p.host, &p.pid, &p.token, &p.heartbeat); err != nil {
			return err
		}
		if p.alive(host, time.Now().UnixMilli()) {
			return fault.New(fault.Conflict, "results database %s: process %d on %s writes run %s with an older tandem, whose schema %d this one would change",
				path, p.pid, p.host, key, version).WithHint("wait until the run has ended, or use the tandem that it began with")
		}
	}
	return rows.Err()
}

func newerFault(path string, version int) error {
	return fault.New(fault.Unavailable, "results database %s has schema %d, this program knows %d",
		path, version, len(migrations())).
		WithHint("use the newer tandem that wrote it, or another file with --db FILE")
}

func itoa(n int) string { return strconv.Itoa(n) }
