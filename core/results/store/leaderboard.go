package store

import (
	"context"
	"database/sql"
	"errors"

	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Leaderboard lists the done runs that have a final value of metric, the best first; equal ones and those
// whose value is NaN come newest first, NaN last. experiment "" takes those of all, metric "" the metric that
// decides in the experiment, or in all that have runs when they agree. limit 0 is no limit. Tainted runs are left out.
// Metric and Value of every row are those asked for. Errors: fault.NotFound (no such experiment or metric),
// fault.Invalid (which metric? which way is it good?). way is +1 or -1 where the caller says which way is better, 0 for what the
// experiment's spec or else the metric itself declares.
func (r *Reader) Leaderboard(ctx context.Context, experiment, name string, way, limit int) ([]RunInfo, error) {
	if experiment != "" {
		if _, err := r.Experiment(ctx, experiment); err != nil {
			return nil, err
		}
	}
	if name == "" {
		var err error
		if name, err = r.deciding(ctx, experiment); err != nil {
			return nil, err
		}
	}
	var id int64
	var declared int
	err := r.db.QueryRowContext(ctx, "SELECT id, better * directed FROM metric WHERE name = ?", name).Scan(&id, &declared)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, r.noMetric(ctx, name)
	}
	if err != nil {
		return nil, diskFault(r.path, err)
	}
	if way == 0 {
		if way, err = r.way(ctx, experiment, name, declared); err != nil {
			return nil, err
		}
	}
	if limit <= 0 {
		limit = -1
	}
	return collect(ctx, r, func(rows *sql.Rows) (i RunInfo, err error) {
		var value sql.NullFloat64
		err = rows.Scan(append(i.columns(), &value)...)
		n := Number(number(value))
		i.Metric, i.Value = name, &n
		return i, err
	}, leaderboardQuery, id, experiment, limit, way)
}

// The runs are chosen by the few columns that choose them before the view makes rows of them.
const leaderboardQuery = `WITH best AS (
	SELECT r.id, r.key, r.started_ms, s.last, s.last IS NULL AS missing, -s.last * ?4 AS rank
	FROM run_summary s JOIN run r ON r.id = s.run_id
	WHERE s.metric_id = ?1 AND r.status = 'done' AND NOT r.tainted
		AND (?2 = '' OR r.experiment_id = (SELECT id FROM experiment WHERE name = ?2))
	ORDER BY missing, rank, r.started_ms DESC, r.id DESC LIMIT ?3
)
SELECT ` + runColumns + `, b.last
FROM best b CROSS JOIN v_runs v ON v.run_id = b.key ORDER BY b.missing, b.rank, b.started_ms DESC, b.id DESC`

// way returns which way a metric is good: as the experiment's spec says, or as it is declared.
func (r *Reader) way(ctx context.Context, experiment, name string, declared int) (int, error) {
	if experiment != "" {
		e, err := r.Experiment(ctx, experiment)
		if err != nil {
			return 0, err
		}
		if said, has := e.Settings.Directions[name]; has {
			d, _ := metric.ParseDirection(said)
			declared = int(d)
		}
	}
	if declared == 0 {
		return 0, fault.New(fault.Invalid, "%s is good neither way, as far as is declared: which values come first?", name).
			WithHint("--direction up, or --direction down")
	}
	return declared, nil
}

// deciding returns the metric that decides in an experiment, or in all of them.
func (r *Reader) deciding(ctx context.Context, experiment string) (string, error) {
	names, err := collect(ctx, r, scanName, `SELECT DISTINCT metric FROM experiment e
		WHERE metric <> '' AND (?1 = '' OR name = ?1) AND EXISTS (SELECT 1 FROM run r WHERE r.experiment_id = e.id) ORDER BY metric`, experiment)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", fault.New(fault.Invalid, "no metric is known to decide: which one ranks the runs?").
			WithHint("--metric NAME; `runner query \"select distinct metric from v_final\"` lists them")
	}
	return "", fault.New(fault.Invalid, "the experiments are decided by %d metrics, %s and %s among them: which one ranks the runs?",
		len(names), names[0], names[1]).WithHint("--metric NAME, or name one experiment")
}

func (r *Reader) noMetric(ctx context.Context, metric string) error {
	names, err := r.Metrics(ctx, "")
	if err != nil {
		return err
	}
	f := fault.New(fault.NotFound, "%s has no metric %q", r.path, metric).
		WithHint("`runner query \"select distinct metric from v_final\"` lists them")
	if near := fault.Nearest(metric, names); near != "" {
		f.WithHint("did you mean %s?", near)
	}
	return f
}

func scanName(rows *sql.Rows) (name string, err error) {
	err = rows.Scan(&name)
	return name, err
}
