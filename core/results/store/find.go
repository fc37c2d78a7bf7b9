package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Latest refers to the newest run.
const Latest = "latest"

// FindRun resolves a reference: a run's id, a prefix of it that no other run has, or latest. Errors:
// fault.NotFound; fault.Invalid for a prefix of several runs, which it lists, and for what is no id.
func (r *Reader) FindRun(ctx context.Context, ref string) (string, error) {
	id, err := r.findRun(ctx, ref)
	if err == nil && !IsID(id) {
		return "", notID(r.path, id)
	}
	return id, err
}

// notID refuses an id that tandem never gave: the names of folders and files are made of ids, and a text such as ../x
// would lead out of where they belong.
func notID(path, id string) error {
	return fault.New(fault.Invalid, "results database %s: %q is no id of a run", path, id).
		WithHint("ids are ten letters and digits that tandem gives; this database was edited by hand or comes from elsewhere")
}

func (r *Reader) findRun(ctx context.Context, ref string) (string, error) {
	if ref == Latest {
		var id string
		err := r.db.QueryRowContext(ctx, "SELECT key FROM run ORDER BY started_ms DESC, id DESC LIMIT 1").Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return "", fault.New(fault.NotFound, "there are no runs in %s", r.path).
				WithHint("`runner run SPEC` makes one")
		}
		return id, diskFault(r.path, err)
	}
	if IsID(ref) { // by the index: the runs that begin so are sought among all
		if id, err := r.oneID(ctx, "SELECT key FROM run WHERE key = ?", ref); id != "" || err != nil {
			return id, err
		}
	}
	rows, err := r.db.QueryContext(ctx, `SELECT r.key, e.name, r.variant, r.seed, r.status
		FROM run r JOIN experiment e ON e.id = r.experiment_id
		WHERE substr(r.key, 1, length(?1)) = ?1 ORDER BY r.started_ms DESC, r.id DESC`, ref)
	if err != nil {
		return "", diskFault(r.path, err)
	}
	defer rows.Close()
	var ids, lines []string
	for rows.Next() {
		var id, experiment, variant, status string
		var seed int64
		if err := rows.Scan(&id, &experiment, &variant, &seed, &status); err != nil {
			return "", diskFault(r.path, err)
		}
		if id == ref {
			return id, nil
		}
		ids = append(ids, id)
		lines = append(lines, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s seed %d %s", id, experiment, variant, seed, status)), " "))
	}
	if err := rows.Err(); err != nil {
		return "", diskFault(r.path, err)
	}
	switch {
	case ref == "" || len(ids) == 0:
		f := fault.New(fault.NotFound, "there is no run %q in %s", ref, r.path).
			WithHint("a run is named by its id, a unique prefix of it or %s; `runner list` shows them", Latest)
		if newest, err := collect(ctx, r, scanName, "SELECT key FROM run ORDER BY id DESC LIMIT 1000"); err == nil {
			if near := fault.Nearest(ref, append(newest, Latest)); near != "" {
				f.WithHint("did you mean %s?", near)
			}
		}
		return "", f
	case len(ids) > 1:
		const most = 10
		if len(lines) > most {
			lines = append(lines[:most], fmt.Sprintf("… and %d more", len(ids)-most))
		}
		return "", fault.New(fault.Invalid, "%q is the beginning of %d runs", ref, len(ids)).
			WithHint("give more digits").WithDetail(strings.Join(lines, "\n"))
	}
	return ids[0], nil
}

// FindResumable returns the id of the newest run of an identity; "" when none was interrupted or failed, or when a newer one is
// done or running. Call MarkDead first, so that runs of
// killed processes count.
func (r *Reader) FindResumable(ctx context.Context, identity string) (string, error) {
	return r.oneID(ctx, `SELECT key FROM (SELECT key, status FROM run WHERE identity = ? ORDER BY started_ms DESC, id DESC LIMIT 1)
		WHERE status IN ('interrupted', 'failed')`, identity)
}

// FindDone returns the id of the newest run of an identity that is done and not tainted; "" when there is none.
func (r *Reader) FindDone(ctx context.Context, identity string) (string, error) {
	return r.oneID(ctx, "SELECT key FROM run WHERE identity = ? AND status = 'done' AND NOT tainted ORDER BY started_ms DESC, id DESC LIMIT 1", identity)
}

func (r *Reader) oneID(ctx context.Context, query, arg string) (string, error) {
	var id string
	err := r.db.QueryRowContext(ctx, query, arg).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, diskFault(r.path, err)
}

// Checkpoints returns the checkpoints of a run, newest first.
func (r *Reader) Checkpoints(ctx context.Context, id string) ([]Checkpoint, error) {
	return collect(ctx, r, func(rows *sql.Rows) (c Checkpoint, err error) {
		err = rows.Scan(&c.Step, &c.Dir, &c.At)
		return c, err
	}, `SELECT c.step, c.dir, strftime('%Y-%m-%dT%H:%M:%fZ', c.at_ms / 1000.0, 'unixepoch')
		FROM checkpoint c JOIN run r ON r.id = c.run_id WHERE r.key = ? ORDER BY c.step DESC`, id)
}

// Checkpoint names a state that the run can be resumed from.
type Checkpoint struct {
	Step int    `json:"step"`
	Dir  string `json:"dir"`
	At   string `json:"at"`
}

// Predictions returns the outcomes of an evaluation example by example, in the evaluation's order. step -1 asks for the last one
// recorded. Errors: fault.NotFound when there are none.
func (r *Reader) Predictions(ctx context.Context, id, evaluation, target string, step int) ([]clip.Prediction, error) {
	var n int
	var examples, outcomes []byte
	err := r.db.QueryRowContext(ctx, `SELECT p.n, s.data, p.data FROM prediction p
		JOIN run r ON r.id = p.run_id JOIN example_set s ON s.id = p.example_set_id
		WHERE r.key = ? AND p.evaluation = ? AND p.target = ? AND (?4 < 0 OR p.step = ?4)
		ORDER BY p.step DESC LIMIT 1`, id, evaluation, target, step).Scan(&n, &examples, &outcomes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "run %s has no predictions for %s/%s", id, evaluation, target).
			WithHint("`runner query \"select * from v_predictions\"` lists those there are")
	}
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	return unpack(examples, outcomes, n)
}

// collect gathers what scan makes of each row of a query.
func collect[T any](ctx context.Context, r *Reader, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, diskFault(r.path, err)
		}
		all = append(all, v)
	}
	return all, diskFault(r.path, rows.Err())
}
