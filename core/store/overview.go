package store

import (
	"context"
	"database/sql"
)

// Overview is an experiment in the list of experiments.
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
	}, `SELECT e.name, e.description, e.baseline, e.metric, e.design, e.noise,
		count(DISTINCT c.variant), count(DISTINCT c.seed), count(c.seed), coalesce(sum(c.done), 0)
		FROM experiment e LEFT JOIN v_cells c ON c.experiment_id = e.id GROUP BY e.id ORDER BY e.id DESC`)
}
