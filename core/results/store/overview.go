package store

import (
	"context"
	"database/sql"
)

// Overview describes an experiment in the list of experiments.
type Overview struct {
	Experiment
	Variants, Seeds int // different ones among the cells
	Cells, Done     int // planned or run; filled
}

// Overviews lists the experiments, newest first.
func (r *Reader) Overviews(ctx context.Context) ([]Overview, error) {
	return collect(ctx, r, func(rows *sql.Rows) (o Overview, err error) {
		err = rows.Scan(&o.Name, &o.Description, &o.Baseline, &o.Metric, &o.Design, &o.Noise, &o.Variants, &o.Seeds, &o.Cells, &o.Done)
		return o, err
	}, overviewQuery)
}

// overviewQuery counts the rows of v_cells without asking which run fills each: whether one does is in the indexes.
const overviewQuery = `SELECT e.name, e.description, e.baseline, e.metric, e.design, e.noise,
	count(DISTINCT c.variant), count(DISTINCT c.seed), count(c.seed), coalesce(sum(c.done), 0)
FROM experiment e LEFT JOIN (
	SELECT t.experiment_id, t.variant, t.seed, CASE WHEN t.identity <> ''
		THEN EXISTS (SELECT 1 FROM run r WHERE r.identity = t.identity AND r.status = 'done' AND r.tainted = 0)
		ELSE EXISTS (SELECT 1 FROM run r WHERE r.experiment_id = t.experiment_id AND r.variant = t.variant AND r.seed = t.seed
			AND r.status = 'done' AND r.tainted = 0)
		END AS done FROM trial t
	UNION ALL
	SELECT r.experiment_id, r.variant, r.seed, max(r.status = 'done' AND r.tainted = 0) FROM run r
	WHERE NOT EXISTS (SELECT 1 FROM trial t WHERE t.experiment_id = r.experiment_id AND t.variant = r.variant AND t.seed = r.seed)
	GROUP BY r.experiment_id, r.variant, r.seed
) c ON c.experiment_id = e.id GROUP BY e.id ORDER BY e.id DESC`
