package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// staleAfter limits the age of a heartbeat: a process that cannot look into the run's pid namespace takes the run for dead when
// its heartbeat is older.
const staleAfter = 10 * time.Minute

// Resume continues a run that has ended, or whose process is gone, from the checkpoint of a step:
// points, predictions, checkpoints and events of later steps are deleted and the summaries made
// anew, in one transaction. Errors among the events stay, since they tell why the run was resumed.
// step -1 starts the run over. Errors: fault.NotFound (no such run), fault.Conflict (it is running
// in a live process).
func (db *DB) Resume(ctx context.Context, id string, step int) (*Run, error) {
	run := db.newRun(ctx)
	run.id, run.state.step = id, step
	err := db.w.task(ctx, func(b *batch) error {
		o, err := b.owned("key = ?", id)
		if err != nil {
			return err
		}
		if len(o) == 0 {
			return fault.New(fault.NotFound, "there is no run %s", id)
		}
		if o[0].alive {
			return fault.New(fault.Conflict, "run %s is in progress in %s", id, o[0].owner()).
				WithHint("wait for it, or stop it with Ctrl-C where it runs")
		}
		run.state.id = o[0].row
		return b.resume(run, step)
	})
	if err != nil {
		return nil, err
	}
	return run, nil
}

// resume makes the run that run.state.id names this process's, from a step.
func (b *batch) resume(run *Run, step int) error {
	if err := b.truncate(run.state, step); err != nil {
		return err
	}
	host, _ := os.Hostname()
	run.state.process = process{host: host, pid: os.Getpid(), token: processToken(os.Getpid())}
	run.state.session = b.now
	if _, err := b.exec(`UPDATE run SET status = 'running',
		prior_ms = prior_ms + coalesce(ended_ms, heartbeat_ms) - session_ms,
		session_ms = ?1, heartbeat_ms = ?1, ended_ms = NULL, host = ?2, pid = ?3, process = ?4, cores = ?5,
		error_kind = '', error_plugin = '', error_message = '', error_hint = '', error_detail = ''
		WHERE id = ?6`, b.now, host, run.state.pid, run.state.token, runtime.NumCPU(), run.state.id); err != nil {
		return err
	}
	note := fmt.Sprintf("resumed from step %d", step)
	if step < 0 {
		note = "started over: it had no checkpoint yet"
	}
	return b.status(run.state.id, clip.StatusRunning, note)
}

// Rewind takes a run that was resumed back to an earlier step still: what lies beyond it is deleted as by Resume.
func (r *Run) Rewind(ctx context.Context, step int) error {
	return r.db.w.do(ctx, &op{cost: 1, run: r.state, alone: true, apply: func(b *batch) error {
		if step >= r.state.step {
			return nil
		}
		b.rewinds[r.state] = step
		if err := b.truncate(r.state, step); err != nil {
			return err
		}
		return b.status(r.state.id, clip.StatusRunning, fmt.Sprintf("went back to step %d", step))
	}})
}

// truncate deletes what lies beyond step and remembers the summaries of what is left.
func (b *batch) truncate(run *runState, step int) error {
	for _, query := range []string{
		"DELETE FROM point WHERE run_id = ? AND step > ?",
		"DELETE FROM prediction WHERE run_id = ? AND step > ?",
		"DELETE FROM evaluation WHERE run_id = ? AND step > ?",
		"DELETE FROM checkpoint WHERE run_id = ? AND step > ?",
		"DELETE FROM event WHERE run_id = ? AND step > ? AND level <> 'error'",
	} {
		if _, err := b.exec(query, run.id, step); err != nil {
			return err
		}
	}
	metrics, err := b.summarised(run.id)
	if err != nil {
		return err
	}
	of := map[int64]*summary{}
	for id, way := range metrics {
		s := &summary{better: way}
		if err := b.summarise(run.id, id, s); err != nil {
			return err
		}
		if s.n > 0 {
			of[id] = s
			continue
		}
		if _, err := b.exec("DELETE FROM run_summary WHERE run_id = ? AND metric_id = ?", run.id, id); err != nil {
			return err
		}
	}
	b.summaries[run] = of
	return nil
}

// summarised gives the metrics of a run and which way each is better.
func (b *batch) summarised(run int64) (map[int64]float64, error) {
	rows, err := b.w.conn.QueryContext(context.Background(),
		"SELECT m.id, m.better * m.directed FROM run_summary s JOIN metric m ON m.id = s.metric_id WHERE s.run_id = ?", run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	metrics := map[int64]float64{}
	for rows.Next() {
		var id int64
		var way float64
		if err := rows.Scan(&id, &way); err != nil {
			return nil, err
		}
		metrics[id] = way
	}
	return metrics, rows.Err()
}

// markDeadQuery ends a run whose process is gone.
const markDeadQuery = `UPDATE run SET status = 'interrupted', ended_ms = heartbeat_ms,
	error_kind = 'internal', error_message = 'the process ended without a word: killed, or the machine went down'
	WHERE id = ? AND status = 'running'`

// MarkDead sets runs that are recorded as running, but whose process on this host is gone, to
// interrupted, and gives their ids. Call it before listing runs or choosing one to resume.
func (db *DB) MarkDead(ctx context.Context) ([]string, error) {
	return db.interrupt(ctx, func(o owned) bool { return !o.alive }, "process gone")
}

// Seize sets all runs that are recorded as running to interrupted, whatever their processes do, and gives their ids. It is for the copy of
// a database whose owner is known to be gone by other means.
func (db *DB) Seize(ctx context.Context) ([]string, error) {
	return db.interrupt(ctx, func(owned) bool { return true }, "taken over")
}

// interrupt ends the runs recorded as running that a condition chooses.
func (db *DB) interrupt(ctx context.Context, chosen func(owned) bool, note string) ([]string, error) {
	var dead []string
	err := db.w.task(ctx, func(b *batch) error {
		dead = nil
		running, err := b.owned("status = ?", string(clip.StatusRunning))
		if err != nil {
			return err
		}
		for _, o := range running {
			if !chosen(o) {
				continue
			}
			dead = append(dead, o.key)
			if _, err := b.exec(markDeadQuery, o.row); err != nil {
				return err
			}
			if err := b.status(o.row, clip.StatusInterrupted, note); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return dead, nil
}

// Dead returns the runs that are recorded as running, but whose process on this host is gone.
func (r *Reader) Dead(ctx context.Context) ([]string, error) {
	host, _ := os.Hostname()
	now := time.Now().UnixMilli()
	type running struct {
		key string
		process
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (x running, err error) {
		err = rows.Scan(&x.key, &x.host, &x.pid, &x.token, &x.heartbeat)
		return x, err
	}, "SELECT key, host, pid, process, heartbeat_ms FROM run WHERE status = 'running'")
	var dead []string
	for _, x := range all {
		if !x.alive(host, now) {
			dead = append(dead, x.key)
		}
	}
	return dead, err
}

// MarkDeadNow calls MarkDead on the database at path, for those who only read: while another process writes to it, it marks nothing
// and does not wait.
func MarkDeadNow(ctx context.Context, path string) error {
	db, err := Open(path)
	if err != nil {
		return err
	}
	db.w.mu.Lock()
	db.w.hasty = true
	db.w.mu.Unlock()
	_, err = db.MarkDead(ctx)
	return errors.Join(err, db.Close())
}
