package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/files/leftover"
)

// MergeOptions say how to merge.
type MergeOptions struct {
	DryRun  bool   // only say what would be done
	RunsDir string // the folder of the other's runs; "": runs beside its file
	// Progress, when not nil, is called after every run with how many there are.
	Progress func(done, of int)
	// Waiting, when not nil, is told when another process keeps the database locked for long.
	Waiting func(message string)
}

// Merged says what a merge did, or would do.
type Merged struct {
	DryRun      bool        `json:"dry_run"`
	Added       int         `json:"added"`       // runs
	Updated     int         `json:"updated"`     // runs that are further along in the other
	Unchanged   int         `json:"unchanged"`   // runs that are here as they are there, or further along
	InProgress  int         `json:"in_progress"` // runs left out, because a process makes them just now
	Experiments int         `json:"experiments"` // new ones
	Cells       int         `json:"cells"`       // new planned ones
	Runs        []MergedRun `json:"runs"`        // those not unchanged
	Notes       []string    `json:"notes"`
}

// MergedRun says what became of a run.
type MergedRun struct {
	ID         string `json:"run_id"`
	Experiment string `json:"experiment"`
	Variant    string `json:"variant"`
	Seed       int64  `json:"seed"`
	Status     string `json:"status"`
	Action     string `json:"action"` // added, updated or in_progress
	Owner      string `json:"owner,omitempty"`
}

// The actions of a merge.
const (
	mergeAdded      = "added"
	mergeUpdated    = "updated"
	mergeUnchanged  = "unchanged"
	mergeInProgress = "in_progress"
)

// Merge takes the runs of the database at other into the one at path, which is made when it is not there. other
// is never changed: one of an older schema is read from a temporary copy.
//
// A run is known by its id. One that is not here is added; one that is here is replaced when it is further along
// there, which is: done or stopped there and not here, or else written to later, or evaluated after the fact by more. A run that a live process makes,
// there or here, is left out; one whose process is gone becomes interrupted. Experiments and metrics are matched by name,
// settings by value, example sets by digest. Planned cells that are missing here are added when both databases
// know the same factors of the experiment. Where the folder of a checkpoint is gone and the run's folder lies in
// RunsDir, its path becomes that.
//
// Every run is a transaction of its own, so that other processes may write meanwhile, and a merge that was ended
// half-way is completed by another. Merging again changes nothing. Errors: fault.Invalid (one file, no results
// database, ids that are none), fault.NotFound, fault.Unavailable (other is of a newer schema), fault.Conflict (one id is two
// different runs; nothing was changed).
func Merge(ctx context.Context, path, other string, o MergeOptions) (*Merged, error) {
	if sameFile(path, other) {
		return nil, fault.New(fault.Invalid, "%s and %s are the same file", path, other).
			WithHint("name the database to merge into with --db FILE")
	}
	theirs, release, err := readable(ctx, other)
	if err != nil {
		return nil, err
	}
	defer release()
	if o.RunsDir == "" {
		o.RunsDir = filepath.Join(filepath.Dir(other), "runs")
	}
	if o.RunsDir, err = filepath.Abs(o.RunsDir); err != nil {
		return nil, ioFault(o.RunsDir, err)
	}
	m := &merger{path: path, other: other, options: o, result: &Merged{DryRun: o.DryRun, Runs: []MergedRun{}, Notes: []string{}}}
	m.host, _ = os.Hostname()
	end, err := m.connect(ctx, path, theirs)
	if err != nil {
		return nil, diskFault(path, err)
	}
	defer end()
	if err := m.merge(ctx); err != nil {
		return nil, diskFault(path, err)
	}
	return m.result, nil
}

// merger holds one connection to the database, as main, with the other attached, as other.
type merger struct {
	path    string
	other   string
	conn    *sql.Conn
	options MergeOptions
	host    string
	result  *Merged
}

// connect opens path, or for a dry run what holds the same and may be read.
func (m *merger) connect(ctx context.Context, path, theirs string) (end func(), err error) {
	release := func() {}
	options := "_synchronous=NORMAL&_busy_timeout=" + milliseconds(writerTimeout)
	if m.options.DryRun {
		options = "mode=ro"
		ready, free, err := readable(ctx, path)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			dir, release, err := leftover.Dir("tandem-db-")
			if err != nil {
				return nil, err
			}
			ready, free = filepath.Join(dir, "empty.db"), release
			if err := makeOrMigrate(ready); err != nil {
				free()
				return nil, err
			}
		case err != nil:
			return nil, err
		}
		path, release = ready, free
	} else if err := makeOrMigrate(path, OnWait(m.options.Waiting)); err != nil {
		return nil, err
	}
	db, err := sql.Open("tandem_rw", dsn(path, options))
	if err != nil {
		release()
		return nil, err
	}
	db.SetMaxOpenConns(1)
	end = func() {
		if m.conn != nil {
			m.conn.Close()
		}
		db.Close()
		release()
	}
	if m.conn, err = db.Conn(ctx); err == nil {
		_, err = m.conn.ExecContext(ctx, "ATTACH ? AS other", attachment(theirs))
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// makeOrMigrate makes the database at path, or brings it up to date.
func makeOrMigrate(path string, options ...Option) error {
	db, err := Open(path, options...)
	if err != nil {
		return err
	}
	return db.Close()
}

// mergeRun holds what the decision on a run goes by.
type mergeRun struct {
	MergedRun
	identity    string
	evaluations []string // after the fact: name, step, settings and time of each
	owned
}

const mergeRunQuery = `SELECT r.id, r.key, e.name, r.variant, r.seed, r.identity, r.status, r.host, r.pid, r.process, r.heartbeat_ms,
	coalesce((SELECT group_concat(concat_ws(' ', v.name, v.step, v.sha256, v.at_ms), char(10)) FROM %[1]s.evaluation v WHERE v.run_id = r.id), '')
	FROM %[1]s.run r JOIN %[1]s.experiment e ON e.id = r.experiment_id %[2]s ORDER BY r.started_ms, r.id`

func (m *merger) runs(ctx context.Context, schema, where string, args ...any) ([]mergeRun, error) {
	rows, err := m.conn.QueryContext(ctx, fmt.Sprintf(mergeRunQuery, schema, where), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var runs []mergeRun
	now := time.Now().UnixMilli()
	for rows.Next() {
		var r mergeRun
		var evaluations string
		if err := rows.Scan(&r.row, &r.ID, &r.Experiment, &r.Variant, &r.Seed, &r.identity, &r.owned.status,
			&r.process.host, &r.pid, &r.token, &r.heartbeat, &evaluations); err != nil {
			return nil, err
		}
		r.evaluations = strings.FieldsFunc(evaluations, func(c rune) bool { return c == '\n' })
		r.alive = r.owned.status == clip.StatusRunning && r.process.alive(m.host, now)
		if r.owned.status == clip.StatusRunning && !r.alive {
			r.owned.status = clip.StatusInterrupted
		}
		r.Status = string(r.owned.status)
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

// decide says what becomes of a run; ours is nil when it is not here.
func decide(ours, theirs *mergeRun) (string, error) {
	switch {
	case theirs.alive:
		return mergeInProgress, nil
	case ours == nil:
		return mergeAdded, nil
	case ours.identity != theirs.identity || ours.Experiment != theirs.Experiment || ours.Variant != theirs.Variant || ours.Seed != theirs.Seed:
		return "", fault.New(fault.Conflict, "run %s is %s %s seed %d in one database and %s %s seed %d in the other", ours.ID,
			ours.Experiment, ours.Variant, ours.Seed, theirs.Experiment, theirs.Variant, theirs.Seed).
			WithHint("the ids of different runs differ unless a database was edited by hand: delete one of the two first")
	case ours.alive:
		return mergeInProgress, nil
	case theirs.ended() != ours.ended():
		if theirs.ended() {
			return mergeUpdated, nil
		}
		return mergeUnchanged, nil
	case theirs.heartbeat > ours.heartbeat:
		return mergeUpdated, nil
	case theirs.heartbeat == ours.heartbeat && theirs.hasMore(ours) && !ours.hasMore(theirs): // evaluated there since
		return mergeUpdated, nil
	}
	return mergeUnchanged, nil
}

// hasMore reports whether r was evaluated after the fact in a way that other was not.
func (r *mergeRun) hasMore(other *mergeRun) bool {
	return slices.ContainsFunc(r.evaluations, func(e string) bool { return !slices.Contains(other.evaluations, e) })
}

// noteEvaluations tells of evaluations that are left out, or that go with the state of a run that is replaced.
func (m *merger) noteEvaluations(ours, theirs *mergeRun, action string) {
	switch {
	case ours == nil:
	case action == mergeUnchanged && theirs.hasMore(ours):
		m.result.Notes = append(m.result.Notes, fmt.Sprintf("run %s was evaluated otherwise there; those evaluations are left out: runner eval makes them here", ours.ID))
	case action == mergeUpdated && ours.hasMore(theirs):
		m.result.Notes = append(m.result.Notes, fmt.Sprintf("run %s is further along there; evaluations that were made of it here are gone: runner eval makes them again", ours.ID))
	}
}

// ended reports whether nothing is left to do on a run.
func (r *mergeRun) ended() bool {
	return r.owned.status == clip.StatusDone || r.owned.status == clip.StatusStopped
}

func (m *merger) merge(ctx context.Context) error {
	theirs, err := m.runs(ctx, "other", "")
	if err != nil {
		return err
	}
	here, err := m.runs(ctx, "main", "")
	if err != nil {
		return err
	}
	ours := make(map[string]*mergeRun, len(here))
	for i := range here {
		ours[here[i].ID] = &here[i]
	}
	for i := range theirs { // so that a conflict is told before anything is written
		if !IsID(theirs[i].ID) {
			return notID(m.other, theirs[i].ID)
		}
		if _, err := decide(ours[theirs[i].ID], &theirs[i]); err != nil {
			return err
		}
	}
	if err := m.experiments(ctx); err != nil {
		return err
	}
	for i := range theirs {
		r := &theirs[i]
		action, err := decide(ours[r.ID], r)
		if err == nil && !m.options.DryRun && (action == mergeAdded || action == mergeUpdated) {
			action, err = m.take(ctx, r)
		}
		if err != nil {
			return err
		}
		m.noteEvaluations(ours[r.ID], r, action)
		m.count(r, action)
		if m.options.Progress != nil {
			m.options.Progress(i+1, len(theirs))
		}
	}
	return nil
}

func (m *merger) count(r *mergeRun, action string) {
	switch action {
	case mergeAdded:
		m.result.Added++
	case mergeUpdated:
		m.result.Updated++
	case mergeInProgress:
		m.result.InProgress++
		r.Owner = r.owner()
	default:
		m.result.Unchanged++
		return
	}
	r.Action = action
	m.result.Runs = append(m.result.Runs, r.MergedRun)
}

// transaction runs fn in one that may write.
func (m *merger) transaction(ctx context.Context, fn func() error) error {
	return retryBusy(m.path, m.options.Waiting, func(time.Duration) bool { return ctx.Err() != nil }, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		transactions.RLock()
		defer transactions.RUnlock()
		// The driver ends what a cancelled context interrupts, but not the transaction around it.
		if _, err := m.conn.ExecContext(context.Background(), "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		err := fn()
		if err == nil {
			_, err = m.conn.ExecContext(context.Background(), "COMMIT")
		}
		if err != nil {
			m.conn.ExecContext(context.Background(), "ROLLBACK")
		}
		return err
	})
}

// take copies a run in a transaction of its own, after looking at both sides once more.
func (m *merger) take(ctx context.Context, r *mergeRun) (action string, err error) {
	err = m.transaction(ctx, func() error {
		theirs, err := m.runs(ctx, "other", "WHERE r.id = ?", r.row)
		if err != nil {
			return err
		}
		here, err := m.runs(ctx, "main", "WHERE r.key = ?", r.ID)
		if err != nil {
			return err
		}
		if len(theirs) == 0 {
			action = mergeUnchanged
			return nil
		}
		*r = theirs[0]
		var ours *mergeRun
		if len(here) > 0 {
			ours = &here[0]
		}
		if action, err = decide(ours, r); err != nil || action != mergeAdded && action != mergeUpdated {
			return err
		}
		return m.copyRun(ctx, ours, r)
	})
	return action, err
}

// relocate returns where a file of a run lies: at path, or in the run's folder below RunsDir.
func (m *merger) relocate(run, path string) string {
	if _, err := os.Stat(path); err == nil {
		return path
	}
	parts := strings.Split(filepath.ToSlash(path), "/")
	at := slices.Index(parts, run)
	if at < 0 {
		return path
	}
	moved := filepath.Join(append([]string{m.options.RunsDir}, parts[at:]...)...)
	if _, err := os.Stat(moved); errors.Is(err, os.ErrNotExist) {
		return path
	}
	return moved
}
