package store

import (
	"context"
	"database/sql"
	"strings"

	"tandem/core/results"
)

// Curve returns the values of one metric of a run by step; empty when it has none.
func (r *Reader) Curve(ctx context.Context, id, metric string) (results.Curve, error) {
	return collect(ctx, r, func(rows *sql.Rows) (p results.Point, err error) {
		var v sql.NullFloat64
		err = rows.Scan(&p.Step, &v)
		p.Value = number(v)
		return p, err
	}, "SELECT step, value FROM v_metrics WHERE run_id = ? AND metric = ? ORDER BY step", id, metric)
}

// Curves returns all values of a metric of an experiment's runs, by the runs' identity. Of several runs of one identity it takes
// the newest.
func (r *Reader) Curves(ctx context.Context, experiment, metric string) (map[string]results.Curve, error) {
	type row struct {
		identity string
		run      int64
		results.Point
	}
	rows, err := collect(ctx, r, func(rows *sql.Rows) (p row, err error) {
		var value sql.NullFloat64
		err = rows.Scan(&p.identity, &p.run, &p.Step, &value)
		p.Value = number(value)
		return p, err
	}, `SELECT r.identity, r.id, p.step, p.value FROM run r JOIN point p ON p.run_id = r.id
		WHERE r.experiment_id = (SELECT id FROM experiment WHERE name = ?)
		AND p.metric_id = (SELECT id FROM metric WHERE name = ?) ORDER BY r.id, p.step`, experiment, metric)
	if err != nil {
		return nil, err
	}
	curves, of := map[string]results.Curve{}, map[string]int64{}
	for _, p := range rows {
		if of[p.identity] != p.run {
			of[p.identity], curves[p.identity] = p.run, nil
		}
		curves[p.identity] = append(curves[p.identity], p.Point)
	}
	return curves, nil
}

// Metrics returns the names of all metrics that begin with prefix, sorted.
func (r *Reader) Metrics(ctx context.Context, prefix string) ([]string, error) {
	names, err := collect(ctx, r, scanName, "SELECT name FROM metric ORDER BY name")
	kept := names[:0]
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			kept = append(kept, n)
		}
	}
	return kept, err
}
