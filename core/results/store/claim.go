package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"tandem/core/clip"
)

// Claim says what came of asking for a trial.
type Claim struct {
	// Run is the trial's run, this process's to make; nil when the trial is not to be had.
	Run *Run
	// Resumed tells that Run was begun before, and Checkpoints are those that it has, newest first.
	Resumed     bool
	Checkpoints []Checkpoint
	Plugins     []Plugin // of a resumed run, as recorded

	// ID is the run, whoever has it. Status is what it was before: done or stopped when there is nothing left to
	// do, running when a live process, Owner, makes it; failed or interrupted when it goes on here; "" when
	// it is new.
	ID     string
	Status clip.Status
	Owner  string // process 123 on HOST
}

// ClaimOptions say which runs count.
type ClaimOptions struct {
	Since time.Time // runs begun before do not count, unless they are running; zero: all count
	// Newest gives the step to resume a run from, of its checkpoints listed newest first; -1 starts over. Its error
	// is the claim's, and nothing is changed.
	Newest func(id string, all []Checkpoint) (int, error)
}

// Claim takes the trial of an identity for this process, in one transaction, so that no two processes
// make the same run: a run that is done or stopped stays, one that a live process makes is left to it, one that
// was begun and not ended is resumed, and where there is none it is begun. Tainted runs do not count.
func (db *DB) Claim(ctx context.Context, m RunMeta, o ClaimOptions) (Claim, error) {
	params, err := flatten(m.Params)
	if err != nil {
		return Claim{}, err
	}
	var c Claim
	err = db.w.task(ctx, func(b *batch) error {
		c = Claim{}
		run := db.newRun(ctx)
		runs, err := b.owned("identity = ? AND NOT tainted", m.Identity)
		if err != nil {
			return err
		}
		var open *owned
		for i, r := range runs { // newest first
			switch {
			case r.alive:
			case r.started < o.Since.UnixMilli():
				continue
			case r.status == clip.StatusDone, r.status == clip.StatusStopped:
			default:
				if open == nil {
					open = &runs[i]
				}
				continue
			}
			c.ID, c.Status, c.Owner = r.key, r.status, r.owner()
			return nil
		}
		if open == nil {
			if err := b.begin(run, m, params); err != nil {
				return err
			}
			c.Run, c.ID = run, run.id
			return nil
		}
		run.id, run.state.id = open.key, open.row
		c.ID, c.Status, c.Resumed = open.key, open.status, true
		if c.Checkpoints, err = b.checkpoints(open.row); err != nil {
			return err
		}
		if c.Plugins, err = b.usedPlugins(open.row); err != nil {
			return err
		}
		if run.state.step, err = o.Newest(open.key, c.Checkpoints); err != nil {
			return err
		}
		c.Run = run
		return b.resume(run, run.state.step)
	})
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

// owned holds a run and the process that makes or made it.
type owned struct {
	row     int64
	key     string
	status  clip.Status
	started int64 // ms
	process
	alive bool // status is running, and by a process that lives
}

func (o owned) owner() string { return fmt.Sprintf("process %d on %s", o.pid, o.host) }

// owned gives the runs that a condition of one argument chooses, newest first.
func (b *batch) owned(where string, arg any) (runs []owned, err error) {
	host, _ := os.Hostname()
	err = b.each(func(rows *sql.Rows) error {
		var o owned
		if err := rows.Scan(&o.row, &o.key, &o.status, &o.started, &o.host, &o.pid, &o.token, &o.heartbeat); err != nil {
			return err
		}
		o.alive = o.status == clip.StatusRunning && o.process.alive(host, b.now)
		runs = append(runs, o)
		return nil
	}, "SELECT id, key, status, started_ms, host, pid, process, heartbeat_ms FROM run WHERE "+where+" ORDER BY started_ms DESC, id DESC", arg)
	return runs, err
}

func (b *batch) checkpoints(run int64) (all []Checkpoint, err error) {
	err = b.each(func(rows *sql.Rows) error {
		var c Checkpoint
		if err := rows.Scan(&c.Step, &c.Dir); err != nil {
			return err
		}
		all = append(all, c)
		return nil
	}, "SELECT step, dir FROM checkpoint WHERE run_id = ? ORDER BY step DESC", run)
	return all, err
}

func (b *batch) usedPlugins(run int64) (all []Plugin, err error) {
	err = b.each(func(rows *sql.Rows) error {
		var p Plugin
		if err := rows.Scan(&p.Role, &p.Name, &p.Version, &p.SHA256); err != nil {
			return err
		}
		all = append(all, p)
		return nil
	}, "SELECT role, name, version, sha256 FROM run_plugin WHERE run_id = ?", run)
	return all, err
}

// each calls f for every row of a query.
func (b *batch) each(f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := b.w.conn.QueryContext(context.Background(), query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
