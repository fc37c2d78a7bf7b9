package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Run records a run that this process makes. It implements clip.Recorder; its methods may be called
// concurrently.
//
// Metrics, Predictions, Event, Checkpoint, Heartbeat and the setters queue and return. While 65,536 points
// wait for the disk or for another process's transaction they block, until the context that the run was begun
// with ends. A failure to write (full disk: fault.Exhausted) is returned by every later call until a retry
// succeeds; values queued meanwhile are kept in order and are not lost.
//
// When another process has taken the run over, since this one was suspended for long and held for dead, every
// call returns fault.Conflict and changes nothing.
type Run struct {
	db    *DB
	id    string
	state *runState
	ctx   context.Context // ends waiting for room in the queue

	mu    sync.Mutex
	ended bool
	heard func(at time.Time, step int, values []clip.Metric)
}

var _ clip.Recorder = (*Run)(nil)

// Begin records a new run with status running, owned by this process.
func (db *DB) Begin(ctx context.Context, m RunMeta) (*Run, error) {
	if m.Experiment == "" {
		return nil, fault.New(fault.Invalid, "a run needs the name of its experiment")
	}
	params, err := flatten(m.Params)
	if err != nil {
		return nil, err
	}
	run := db.newRun(ctx)
	if err := db.w.task(ctx, func(b *batch) error { return b.begin(run, m, params) }); err != nil {
		return nil, err
	}
	return run, nil
}

func (db *DB) newRun(ctx context.Context) *Run {
	return &Run{db: db, ctx: ctx, state: &runState{summaries: map[int64]summary{}, step: -1}}
}

// begin records a new run, owned by this process, and makes run stand for it.
func (b *batch) begin(run *Run, m RunMeta, params []param) error {
	host, _ := os.Hostname()
	run.state.process = process{host: host, pid: os.Getpid(), token: processToken(os.Getpid())}
	run.state.session = b.now
	experiment, err := b.experimentID(m.Experiment)
	if err != nil {
		return err
	}
	if err := b.describe(experiment, m.Description, m.Baseline, m.Metric); err != nil {
		return err
	}
	id, taken := "", true
	for taken {
		id = newID(time.UnixMilli(b.now))
		if err := b.row("SELECT EXISTS (SELECT 1 FROM run WHERE key = ?)", id).Scan(&taken); err != nil {
			return err
		}
	}
	result, err := b.exec(`INSERT INTO run (key, experiment_id, variant, seed, identity, status,
		started_ms, session_ms, heartbeat_ms, host, pid, process, cores, device, devices, threads, libraries,
		git_commit, git_dirty, dataset_digest)
		VALUES (?,?,?,?,?,'running',?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		id, experiment, m.Variant, m.Seed, m.Identity, b.now, b.now, b.now,
		host, run.state.pid, run.state.token, runtime.NumCPU(), m.Device, max(1, m.Devices),
		jsonText(m.Threads), jsonText(m.Libraries), m.GitCommit, m.GitDirty, m.DatasetDigest)
	if err != nil {
		return err
	}
	run.id = id
	if run.state.id, err = result.LastInsertId(); err != nil {
		return err
	}
	if _, err := b.exec("INSERT INTO run_spec (run_id, spec) VALUES (?,?)", run.state.id, m.Spec); err != nil {
		return err
	}
	for _, p := range params {
		setting, err := b.settingID(p)
		if err != nil {
			return err
		}
		if _, err := b.exec("INSERT INTO param (run_id, setting_id) VALUES (?,?)", run.state.id, setting); err != nil {
			return err
		}
	}
	if err := b.plugins(run.state.id, m.Plugins); err != nil {
		return err
	}
	return b.status(run.state.id, clip.StatusRunning, "")
}

// ID returns the run's id, as people write it.
func (r *Run) ID() string { return r.id }

// queue hands fn to the writer.
func (r *Run) queue(cost int, fn func(*batch) error) error {
	return r.push(&op{cost: cost, apply: fn})
}

func (r *Run) push(o *op) error {
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended {
		return fault.New(fault.Conflict, "run %s has finished", r.id)
	}
	if lost := r.state.lost.Load(); lost != nil {
		return lost
	}
	o.run = r.state
	return r.db.w.push(r.ctx, o)
}

// Metrics records values at a step. A step recorded before is replaced.
func (r *Run) Metrics(step int, values []clip.Metric) error {
	own := append([]clip.Metric(nil), values...)
	o := &op{cost: max(1, len(own)), apply: func(b *batch) error { return b.points(r.state, step, own) }}
	r.mu.Lock()
	heard := r.heard
	r.mu.Unlock()
	if heard != nil {
		at := time.Now()
		o.after = func() { heard(at, step, own) }
	}
	return r.push(o)
}

// Hear has heard called with the values of each later call of Metrics, and when it was made, once they are committed: in the order of the
// calls, by the writing goroutine. heard must not wait, and must change nothing.
func (r *Run) Hear(heard func(at time.Time, step int, values []clip.Metric)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = heard
}

// Predictions records the outcome of every example of an evaluation, replacing that of the same
// step.
func (r *Run) Predictions(step int, evaluation, target string, p []clip.Prediction) error {
	kept := packed(p)
	return r.queue(1+(len(kept.examples)+len(kept.outcomes))/64, func(b *batch) error {
		b.beat(r.state, step)
		return b.predictions(r.state.id, step, evaluation, target, kept)
	})
}

// Event records something worth telling, at the highest step recorded so far.
func (r *Run) Event(level, kind, message, detail string) error {
	at := time.Now().UnixMilli()
	return r.queue(1+(len(message)+len(detail))/64, func(b *batch) error {
		b.beat(r.state, -1)
		_, err := b.exec("INSERT INTO event (run_id, at_ms, step, level, kind, message, detail) VALUES (?,?,?,?,?,?,?)",
			r.state.id, at, b.step(r.state), level, kind, message, detail)
		return err
	})
}

// Afterwards does as Event does for a run that has finished. It waits until the event is on the disk.
func (r *Run) Afterwards(ctx context.Context, level, kind, message, detail string) error {
	at := time.Now().UnixMilli()
	return r.db.w.do(ctx, &op{cost: 1, run: r.state, apply: func(b *batch) error {
		_, err := b.exec("INSERT INTO event (run_id, at_ms, step, level, kind, message, detail) VALUES (?,?,?,?,?,?,?)",
			r.state.id, at, b.step(r.state), level, kind, message, detail)
		return err
	}})
}

// Checkpoint records that a resumable state of a step lies in dir. Everything recorded before it is
// committed with it or earlier, and the writer syncs the file.
func (r *Run) Checkpoint(step int, dir string) error {
	return r.push(&op{cost: 1, sync: true, apply: func(b *batch) error {
		b.beat(r.state, -1)
		_, err := b.exec("INSERT OR REPLACE INTO checkpoint (run_id, step, dir, at_ms) VALUES (?,?,?,?)",
			r.state.id, step, dir, b.now)
		return err
	}})
}

// DropCheckpoint records that the checkpoint of a step was deleted.
func (r *Run) DropCheckpoint(step int) error {
	return r.queue(1, func(b *batch) error {
		_, err := b.exec("DELETE FROM checkpoint WHERE run_id = ? AND step = ?", r.state.id, step)
		return err
	})
}

// Flush returns when everything recorded so far is on the disk, or says why it is not.
func (r *Run) Flush(ctx context.Context) error {
	return r.db.w.do(ctx, &op{cost: 1, run: r.state, sync: true, apply: func(b *batch) error {
		b.beat(r.state, -1)
		return nil
	}})
}

// Heartbeat records that the run is alive; every other write does so too.
func (r *Run) Heartbeat() error {
	return r.queue(1, func(b *batch) error {
		b.beat(r.state, -1)
		return nil
	})
}

// SetFacts records what was found out about the run: parameters.total, parameters.image, flops.text.
// Values are integers, floats, strings and booleans.
func (r *Run) SetFacts(facts map[string]any) error {
	values, err := flatten(facts)
	if err != nil {
		return err
	}
	return r.queue(1+len(values), func(b *batch) error {
		for _, v := range values {
			if _, err := b.exec("INSERT OR REPLACE INTO run_fact (run_id, key, value) VALUES (?,?,?)", r.state.id, v.key, v.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetPlugins records the plugins in use, by role; roles recorded before are replaced.
func (r *Run) SetPlugins(plugins []Plugin) error {
	own := append([]Plugin(nil), plugins...)
	return r.queue(1+len(own), func(b *batch) error { return b.plugins(r.state.id, own) })
}

// SetDatasets records the digests of the data in use by role, DataRole and those of the evaluations, once the datasets
// are open. changed are the roles that another digest was recorded for. When the run goes on from a checkpoint, what is
// recorded of a role stays.
func (r *Run) SetDatasets(ctx context.Context, digests map[string]string, goesOn bool) (changed []string, err error) {
	roles := slices.Sorted(maps.Keys(digests))
	err = r.db.w.task(ctx, func(b *batch) error {
		changed = nil
		for _, role := range roles {
			known, err := b.dataset(r.state.id, role)
			if err != nil {
				return err
			}
			if known != "" && known != digests[role] {
				changed = append(changed, role)
			}
			if known == digests[role] || known != "" && goesOn {
				continue
			}
			if role == DataRole {
				_, err = b.exec("UPDATE run SET dataset_digest = ? WHERE id = ?", digests[role], r.state.id)
			} else {
				_, err = b.exec("INSERT OR REPLACE INTO run_fact (run_id, key, value) VALUES (?,?,?)", r.state.id, role+digestFact, digests[role])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return changed, err
}

// DataRole names the role of the training data, whose digest is a column of the run; those of others are facts.
const DataRole = "data.train"

const digestFact = ".digest"

// dataset returns the digest recorded for a role, "" when there is none.
func (b *batch) dataset(run int64, role string) (digest string, err error) {
	query, args := "SELECT dataset_digest FROM run WHERE id = ?", []any{run}
	if role != DataRole {
		query, args = "SELECT value FROM run_fact WHERE run_id = ? AND key = ?", append(args, role+digestFact)
	}
	err = b.each(func(rows *sql.Rows) error { return rows.Scan(&digest) }, query, args...)
	return digest, err
}

// SetDevice records the device and the libraries in use, once the encoders are configured.
func (r *Run) SetDevice(device string, libraries map[string]string) error {
	text := jsonText(libraries)
	return r.queue(1, func(b *batch) error {
		_, err := b.exec("UPDATE run SET device = ?, libraries = ? WHERE id = ?", device, text, r.state.id)
		return err
	})
}

// Taint marks the run as not comparable with others, with a reason: v_cells, v_seed_stats and
// v_deltas pass over it. Several reasons add up; one that is known already is not added again.
func (r *Run) Taint(reason string) error {
	return r.queue(1, func(b *batch) error {
		_, err := b.exec(`UPDATE run SET tainted = 1, taint = CASE WHEN taint = '' THEN ?1
			WHEN instr('; ' || taint || '; ', '; ' || ?1 || '; ') THEN taint ELSE taint || '; ' || ?1 END WHERE id = ?2`, reason, r.state.id)
		return err
	})
}

// Finish ends the run with a status other than running; cause, when not nil, is stored as its error.
// It returns when that and everything recorded before is on the disk. A second Finish is
// fault.Conflict.
func (r *Run) Finish(ctx context.Context, status clip.Status, cause error) error {
	if status == clip.StatusRunning {
		return fault.New(fault.Invalid, "run %s cannot finish as running", r.id)
	}
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return fault.New(fault.Conflict, "run %s has finished", r.id)
	}
	r.ended = true
	r.mu.Unlock()
	failure := faultRow(cause)
	err := r.db.w.do(ctx, &op{cost: 1, run: r.state, sync: true, apply: func(b *batch) error {
		if _, err := b.exec(`UPDATE run SET status = ?, ended_ms = ?, heartbeat_ms = ?,
			error_kind = ?, error_plugin = ?, error_message = ?, error_hint = ?, error_detail = ? WHERE id = ?`,
			string(status), b.now, b.now, failure.Kind, failure.Plugin, failure.Message, failure.Hint, failure.Detail,
			r.state.id); err != nil {
			return err
		}
		b.ended(r.state)
		return b.status(r.state.id, status, failure.Message)
	}})
	if err != nil {
		r.mu.Lock()
		r.ended = false // so that the caller may free space and try again
		r.mu.Unlock()
	}
	return err
}

// Failure holds the error that ended a run.
type Failure struct {
	Kind    string `json:"kind"`
	Plugin  string `json:"plugin,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func faultRow(err error) Failure {
	if err == nil {
		return Failure{}
	}
	row := Failure{Kind: string(fault.KindOf(err)), Message: err.Error()}
	var e *fault.Error
	if errors.As(err, &e) {
		row.Plugin, row.Hint, row.Detail = e.Plugin, e.Hint, e.Detail
	}
	return row
}

func (b *batch) experimentID(name string) (id int64, err error) {
	if _, err = b.exec("INSERT INTO experiment (name, created_ms) VALUES (?,?) ON CONFLICT DO NOTHING", name, b.now); err != nil {
		return 0, err
	}
	err = b.row("SELECT id FROM experiment WHERE name = ?", name).Scan(&id)
	return id, err
}

func (b *batch) plugins(run int64, plugins []Plugin) error {
	for _, p := range plugins {
		if _, err := b.exec("INSERT OR REPLACE INTO run_plugin (run_id, role, name, version, sha256) VALUES (?,?,?,?,?)",
			run, p.Role, p.Name, p.Version, p.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// status adds to the history of a run's states.
func (b *batch) status(run int64, status clip.Status, note string) error {
	_, err := b.exec(`INSERT INTO run_status (run_id, seq, at_ms, status, note)
		VALUES (?1, (SELECT 1 + coalesce(max(seq), 0) FROM run_status WHERE run_id = ?1), ?2, ?3, ?4)`,
		run, b.now, string(status), note)
	return err
}
