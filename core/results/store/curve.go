package store

import (
	"context"
	"database/sql"
	"strings"

	"tandem/core/clip"
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

// StepValues holds the values of one step.
type StepValues struct {
	Step   int
	Values []clip.Metric
}

// Between returns the values of all metrics of a run at steps beyond after, up to upTo, by step.
func (r *Reader) Between(ctx context.Context, id string, after, upTo int) ([]StepValues, error) {
	var all []StepValues
	_, err := collect(ctx, r, func(rows *sql.Rows) (none struct{}, err error) {
		var step int
		var m clip.Metric
		var v sql.NullFloat64
		if err := rows.Scan(&step, &m.Name, &v); err != nil {
			return none, err
		}
		m.Value = number(v)
		if n := len(all); n == 0 || all[n-1].Step != step {
			all = append(all, StepValues{Step: step})
		}
		last := &all[len(all)-1]
		last.Values = append(last.Values, m)
		return none, nil
	}, `SELECT p.step, m.name, p.value FROM run r JOIN run_summary s ON s.run_id = r.id JOIN metric m ON m.id = s.metric_id
		JOIN point p ON p.run_id = r.id AND p.metric_id = s.metric_id AND p.step > ? AND p.step <= ?
		WHERE r.key = ? ORDER BY p.step, m.id`, after, upTo, id)
	return all, err
}

// LastSteps returns the newest step of each metric of a run.
func (r *Reader) LastSteps(ctx context.Context, id string) (map[string]int, error) {
	last := map[string]int{}
	_, err := collect(ctx, r, func(rows *sql.Rows) (none struct{}, err error) {
		var name string
		var step int
		err = rows.Scan(&name, &step)
		last[name] = step
		return none, err
	}, `SELECT m.name, s.last_step FROM run r JOIN run_summary s ON s.run_id = r.id JOIN metric m ON m.id = s.metric_id WHERE r.key = ?`, id)
	return last, err
}
