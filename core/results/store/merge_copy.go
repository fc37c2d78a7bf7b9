package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"tandem/core/clip"
)

// The columns of run that are copied: all but its own row and its experiment's.
const copiedRunColumns = `key, variant, seed, identity, status, started_ms, session_ms, prior_ms, ended_ms, heartbeat_ms,
	host, pid, process, cores, device, devices, threads, libraries, git_commit, git_dirty, dataset_digest,
	tainted, taint, error_kind, error_plugin, error_message, error_hint, error_detail`

// runTables lists the tables that hold the rest of a run, by run_id.
var runTables = []string{"run_spec", "run_status", "run_fact", "run_plugin", "run_source", "run_skip", "event", "artifact", "checkpoint", "param", "point", "run_summary", "prediction", "evaluation"}

// copies take the rest of run ?1 of other as that of run ?2 here.
var copies = []string{
	`INSERT INTO main.run_spec (run_id, spec) SELECT ?2, spec FROM other.run_spec WHERE run_id = ?1`,
	`INSERT INTO main.run_status (run_id, seq, at_ms, status, note)
		SELECT ?2, seq, at_ms, status, note FROM other.run_status WHERE run_id = ?1`,
	`INSERT INTO main.run_fact (run_id, key, value) SELECT ?2, key, value FROM other.run_fact WHERE run_id = ?1`,
	`INSERT INTO main.run_plugin (run_id, role, name, version, sha256)
		SELECT ?2, role, name, version, sha256 FROM other.run_plugin WHERE run_id = ?1`,
	`INSERT INTO main.run_source (run_id, position, role, name, digest, samples, weight, quota, seen, replaced)
		SELECT ?2, position, role, name, digest, samples, weight, quota, seen, replaced FROM other.run_source WHERE run_id = ?1`,
	`INSERT INTO main.run_skip (run_id, role, stage, reason, n, first)
		SELECT ?2, role, stage, reason, n, first FROM other.run_skip WHERE run_id = ?1`,
	`INSERT INTO main.event (run_id, at_ms, step, level, kind, message, detail)
		SELECT ?2, at_ms, step, level, kind, message, detail FROM other.event WHERE run_id = ?1 ORDER BY id`,
	`INSERT INTO main.artifact (run_id, path, kind, bytes, sha256, at_ms)
		SELECT ?2, path, kind, bytes, sha256, at_ms FROM other.artifact WHERE run_id = ?1`,
	`INSERT INTO main.checkpoint (run_id, step, dir, at_ms) SELECT ?2, step, dir, at_ms FROM other.checkpoint WHERE run_id = ?1`,

	`INSERT INTO main.setting (key, type, value) SELECT o.key, o.type, o.value
		FROM other.param p JOIN other.setting o ON o.id = p.setting_id
		WHERE p.run_id = ?1 AND NOT EXISTS (SELECT 1 FROM main.setting s WHERE s.key = o.key AND s.value IS o.value AND s.type = o.type)`,
	`INSERT INTO main.param (run_id, setting_id) SELECT ?2, s.id
		FROM other.param p JOIN other.setting o ON o.id = p.setting_id
		JOIN main.setting s ON s.key = o.key AND s.value IS o.value AND s.type = o.type WHERE p.run_id = ?1`,

	`INSERT INTO main.metric (name, better, directed) SELECT m.name, m.better, m.directed
		FROM other.run_summary s JOIN other.metric m ON m.id = s.metric_id WHERE s.run_id = ?1 ON CONFLICT DO NOTHING`,
	`INSERT INTO main.point (run_id, metric_id, step, value) SELECT ?2, m.id, p.step, p.value
		FROM other.point p JOIN other.metric o ON o.id = p.metric_id JOIN main.metric m ON m.name = o.name WHERE p.run_id = ?1`,
	`INSERT INTO main.run_summary (run_id, metric_id, first, last, last_step, min, max, best, best_step, n, n_finite, sum)
		SELECT ?2, m.id, s.first, s.last, s.last_step, s.min, s.max, s.best, s.best_step, s.n, s.n_finite, s.sum
		FROM other.run_summary s JOIN other.metric o ON o.id = s.metric_id JOIN main.metric m ON m.name = o.name WHERE s.run_id = ?1`,

	`INSERT INTO main.example_set (sha256, n, data) SELECT o.sha256, o.n, o.data
		FROM other.prediction p JOIN other.example_set o ON o.id = p.example_set_id
		WHERE p.run_id = ?1 ON CONFLICT DO NOTHING`,
	`INSERT INTO main.prediction (run_id, step, evaluation, target, n, correct, example_set_id, data)
		SELECT ?2, p.step, p.evaluation, p.target, p.n, p.correct, s.id, p.data
		FROM other.prediction p JOIN other.example_set o ON o.id = p.example_set_id
		JOIN main.example_set s ON s.sha256 = o.sha256 WHERE p.run_id = ?1 ORDER BY p.id`,
	`INSERT INTO main.evaluation (run_id, name, step, sha256, suite, suite_sha256, version, dataset, samples, left_out, at_ms)
		SELECT ?2, name, step, sha256, suite, suite_sha256, version, dataset, samples, left_out, at_ms FROM other.evaluation WHERE run_id = ?1`,
}

// copyRun copies a run in place of ours, or as a new one when ours is nil.
func (m *merger) copyRun(ctx context.Context, ours, theirs *mergeRun) error {
	var to int64
	if ours == nil {
		made, err := m.conn.ExecContext(ctx, `INSERT INTO main.run (experiment_id, `+copiedRunColumns+`)
			SELECT (SELECT id FROM main.experiment WHERE name = ?2), `+copiedRunColumns+` FROM other.run WHERE id = ?1`, theirs.row, theirs.Experiment)
		if err != nil {
			return err
		}
		if to, err = made.LastInsertId(); err != nil {
			return err
		}
	} else {
		to = ours.row
		for _, table := range runTables {
			if _, err := m.conn.ExecContext(ctx, "DELETE FROM main."+table+" WHERE run_id = ?", to); err != nil {
				return err
			}
		}
		if _, err := m.conn.ExecContext(ctx, `UPDATE main.run SET (`+copiedRunColumns+`) =
			(SELECT `+copiedRunColumns+` FROM other.run WHERE id = ?1) WHERE id = ?2`, theirs.row, to); err != nil {
			return err
		}
	}
	for _, query := range copies {
		if _, err := m.conn.ExecContext(ctx, query, theirs.row, to); err != nil {
			return err
		}
	}
	if theirs.owned.status == clip.StatusInterrupted {
		if err := m.interrupt(ctx, to); err != nil {
			return err
		}
	}
	return m.movePaths(ctx, to, theirs.ID)
}

// interrupt ends a run that was recorded as running, as MarkDead does.
func (m *merger) interrupt(ctx context.Context, row int64) error {
	done, err := m.conn.ExecContext(ctx, markDeadQuery, row)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err
	}
	_, err = m.conn.ExecContext(ctx, `INSERT INTO main.run_status (run_id, seq, at_ms, status, note)
		SELECT id, (SELECT 1 + coalesce(max(seq), 0) FROM main.run_status WHERE run_id = ?1), heartbeat_ms, 'interrupted', 'process gone'
		FROM main.run WHERE id = ?1`, row)
	return err
}

// movePaths makes sense of the paths of checkpoints and artifacts.
func (m *merger) movePaths(ctx context.Context, row int64, id string) error {
	for _, column := range [][2]string{{"checkpoint", "dir"}, {"artifact", "path"}} {
		var paths []string
		rows, err := m.conn.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM main.%s WHERE run_id = ?", column[1], column[0]), row)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var path string
			if err := rows.Scan(&path); err != nil {
				return err
			}
			paths = append(paths, path)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, path := range paths {
			if to := m.relocate(id, path); to != path {
				if _, err := m.conn.ExecContext(ctx, fmt.Sprintf("UPDATE main.%[1]s SET %[2]s = ? WHERE run_id = ? AND %[2]s = ?", column[0], column[1]), to, row, path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// The planned cells of other that are missing here, of experiments whose factors are the same or that have no
// plan here.
const missingCells = `FROM other.trial t JOIN other.experiment o ON o.id = t.experiment_id
	LEFT JOIN main.experiment e ON e.name = o.name
	WHERE (e.id IS NULL OR e.factors = o.factors OR NOT EXISTS (SELECT 1 FROM main.trial x WHERE x.experiment_id = e.id))
	AND NOT EXISTS (SELECT 1 FROM main.trial x WHERE x.experiment_id = e.id AND x.variant = t.variant AND x.seed = t.seed)`

// experiments merges what is known of experiments: what is said here stays, what is empty is filled in.
func (m *merger) experiments(ctx context.Context) error {
	err := m.conn.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM other.experiment WHERE name NOT IN (SELECT name FROM main.experiment)),
		(SELECT count(*) `+missingCells+`)`).Scan(&m.result.Experiments, &m.result.Cells)
	if err != nil {
		return err
	}
	var differ string
	err = m.conn.QueryRowContext(ctx, `SELECT group_concat(e.name, ', ') FROM main.experiment e JOIN other.experiment o ON o.name = e.name
		WHERE o.factors <> e.factors AND EXISTS (SELECT 1 FROM main.trial x WHERE x.experiment_id = e.id)
		AND EXISTS (SELECT 1 FROM other.trial x WHERE x.experiment_id = o.id) HAVING count(*) > 0`).Scan(&differ)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	default:
		m.result.Notes = append(m.result.Notes, "planned with other factors there, the plan here stays: "+differ)
	}
	if m.options.DryRun {
		return nil
	}
	keep := func(columns ...string) string {
		for i, c := range columns {
			columns[i] = fmt.Sprintf("%[1]s = CASE WHEN e.%[1]s = '' THEN o.%[1]s ELSE e.%[1]s END", c)
		}
		return strings.Join(columns, ", ")
	}
	return m.transaction(ctx, func() error {
		for _, query := range []string{
			`INSERT INTO main.experiment (name, description, baseline, metric, created_ms, design, factors, noise, settings)
				SELECT name, description, baseline, metric, created_ms, design, factors, noise, settings FROM other.experiment WHERE true ORDER BY id
				ON CONFLICT DO NOTHING`,
			`UPDATE main.experiment AS e SET ` + keep("description", "baseline", "metric") + ` FROM other.experiment o WHERE o.name = e.name`,
			`UPDATE main.experiment AS e SET design = o.design, factors = o.factors, noise = o.noise, settings = o.settings FROM other.experiment o
				WHERE o.name = e.name AND NOT EXISTS (SELECT 1 FROM main.trial x WHERE x.experiment_id = e.id)
				AND EXISTS (SELECT 1 FROM other.trial x WHERE x.experiment_id = o.id)`,
			`INSERT INTO main.trial (experiment_id, variant, seed, identity, levels, phase, position)
				SELECT e.id, t.variant, t.seed, t.identity, t.levels, t.phase,
				t.position + coalesce((SELECT max(x.position) + 1 FROM main.trial x WHERE x.experiment_id = e.id), 0) ` + missingCells,
		} {
			if _, err := m.conn.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
}
