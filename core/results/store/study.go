package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"tandem/core/fault"
	"tandem/core/results"
)

// ofKeys selects the runs of a JSON array of ids, ?1, in its order.
const ofKeys = "json_each(?1) j CROSS JOIN run r ON r.key = j.value"

func jsonArray(ids []string) string {
	text, err := json.Marshal(ids)
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}

// Summaries returns what a page of many runs shows of each, by id, with one query of each kind: how it went and where it ran, its facts,
// plugins and predictions, the metric of a name, and the events that are no mere information. Other fields of RunDetail stay empty.
func (r *Reader) Summaries(ctx context.Context, ids []string, metric string) (map[string]*RunDetail, error) {
	all := make(map[string]*RunDetail, len(ids))
	_, err := collect(ctx, r, func(rows *sql.Rows) (d *RunDetail, err error) {
		d = &RunDetail{Facts: map[string]any{}, Metrics: map[string]Series{}}
		var threads, libraries string
		err = rows.Scan(append(d.columns(), &d.Identity, &d.Host, &d.Cores, &d.Devices, &threads, &libraries, &d.GitCommit, &d.GitDirty, &d.DatasetDigest, &d.Taint)...)
		d.Threads, d.Libraries = json.RawMessage(threads), json.RawMessage(libraries)
		all[d.ID] = d
		return d, err
	}, "SELECT "+runColumns+`, r.identity, r.host, r.cores, r.devices, r.threads, r.libraries, r.git_commit, r.git_dirty, r.dataset_digest, r.taint
		FROM `+ofKeys+` CROSS JOIN v_runs v ON v.run_id = r.key`, jsonArray(ids))
	if err != nil {
		return nil, err
	}
	each := func(query string, take func(rows *sql.Rows, key *string) (func(*RunDetail), error), args ...any) {
		if err != nil {
			return
		}
		_, err = collect(ctx, r, func(rows *sql.Rows) (none struct{}, err error) {
			var key string
			put, err := take(rows, &key)
			if d := all[key]; err == nil && d != nil {
				put(d)
			}
			return none, err
		}, query, append([]any{jsonArray(ids)}, args...)...)
	}
	each("SELECT r.key, f.key, f.value FROM "+ofKeys+" CROSS JOIN run_fact f ON f.run_id = r.id", func(rows *sql.Rows, key *string) (func(*RunDetail), error) {
		var name string
		var value any
		err := rows.Scan(key, &name, &value)
		return func(d *RunDetail) { d.Facts[name] = value }, err
	})
	each("SELECT r.key, p.role, p.name, p.version, p.sha256 FROM "+ofKeys+" CROSS JOIN run_plugin p ON p.run_id = r.id ORDER BY j.key, p.role", func(rows *sql.Rows, key *string) (func(*RunDetail), error) {
		var p Plugin
		err := rows.Scan(key, &p.Role, &p.Name, &p.Version, &p.SHA256)
		return func(d *RunDetail) { d.Plugins = append(d.Plugins, p) }, err
	})
	each("SELECT r.key, s.last, s.last_step FROM "+ofKeys+" CROSS JOIN run_summary s ON s.run_id = r.id AND s.metric_id = (SELECT id FROM metric WHERE name = ?2)", func(rows *sql.Rows, key *string) (func(*RunDetail), error) {
		var last sql.NullFloat64
		var s Series
		err := rows.Scan(key, &last, &s.LastStep)
		s.Last = Number(number(last))
		return func(d *RunDetail) { d.Metrics[metric] = s }, err
	}, metric)
	each("SELECT r.key, x.step, x.level, x.kind, x.message FROM "+ofKeys+" CROSS JOIN event x ON x.run_id = r.id AND x.level <> 'info' ORDER BY x.id", func(rows *sql.Rows, key *string) (func(*RunDetail), error) {
		var e Event
		err := rows.Scan(key, &e.Step, &e.Level, &e.Kind, &e.Message)
		return func(d *RunDetail) { d.Events = append(d.Events, e) }, err
	})
	each("SELECT r.key, p.step, p.evaluation, p.target, p.n, p.correct FROM "+ofKeys+" CROSS JOIN prediction p ON p.run_id = r.id ORDER BY p.id", func(rows *sql.Rows, key *string) (func(*RunDetail), error) {
		var p PredictionInfo
		err := rows.Scan(key, &p.Step, &p.Evaluation, &p.Target, &p.N, &p.Correct)
		return func(d *RunDetail) { d.Predictions = append(d.Predictions, p) }, err
	})
	for _, d := range all {
		if n, is := d.Facts["parameters.total"].(int64); is {
			d.Parameters = &n
		}
	}
	return all, err
}

// ParamsOf returns the parameters of several runs, by id.
func (r *Reader) ParamsOf(ctx context.Context, ids []string) (map[string]map[string]any, error) {
	all := make(map[string]map[string]any, len(ids))
	for _, id := range ids {
		p, err := r.params(ctx, id)
		if err != nil {
			return nil, err
		}
		all[id] = p
	}
	return all, nil
}

// Curves holds a metric of several runs by step.
type Curves struct {
	Of        map[string]results.Curve // by run; of runs that have the metric
	Low, High int                      // the steps that they reach from and to
	Longest   int                      // points that one of them has at most, as recorded
}

// CurvesOf returns the curves of a metric of several runs. Where one has more than most points, each is cut into bins parts of equal
// numbers of steps from Low to High, and a point holds the means of a part's steps and finite values.
func (r *Reader) CurvesOf(ctx context.Context, ids []string, metric string, most, bins int) (Curves, error) {
	c := Curves{Of: map[string]results.Curve{}}
	err := r.db.QueryRowContext(ctx, `SELECT coalesce(min((SELECT min(step) FROM point p WHERE p.run_id = s.run_id AND p.metric_id = s.metric_id)), 0),
			coalesce(max(s.last_step), 0), coalesce(max(s.n), 0)
		FROM `+ofKeys+` CROSS JOIN run_summary s ON s.run_id = r.id AND s.metric_id = (SELECT id FROM metric WHERE name = ?2)`, jsonArray(ids), metric).
		Scan(&c.Low, &c.High, &c.Longest)
	if err != nil {
		return c, diskFault(r.path, err)
	}
	query, args := `SELECT r.key, p.step, p.value FROM `+ofKeys+` CROSS JOIN point p ON p.run_id = r.id AND p.metric_id = (SELECT id FROM metric WHERE name = ?2)
		ORDER BY r.id, p.step`, []any{jsonArray(ids), metric}
	if c.Longest > most {
		query = `SELECT r.key, CAST(round(avg(p.step)) AS INTEGER), avg(p.value) FROM ` + ofKeys + `
			CROSS JOIN point p ON p.run_id = r.id AND p.metric_id = (SELECT id FROM metric WHERE name = ?2)
			WHERE abs(p.value) < 9e999
			GROUP BY r.id, min(?3 - 1, CAST(?3 * (p.step - ?4) * 1.0 / (?5 - ?4) AS INTEGER)) ORDER BY r.id, min(p.step)`
		args = append(args, bins, c.Low, c.High)
	}
	_, err = collect(ctx, r, func(rows *sql.Rows) (none struct{}, err error) {
		var key string
		var p results.Point
		var value sql.NullFloat64
		err = rows.Scan(&key, &p.Step, &value)
		p.Value = number(value)
		c.Of[key] = append(c.Of[key], p)
		return none, err
	}, query, args...)
	return c, err
}

// Stamp returns a text that is another one when an experiment's plan, the runs that fill its cells or their state have changed, or when
// they were evaluated again. What a run that goes on records does not change it. fault.NotFound when there is no such experiment.
func (r *Reader) Stamp(ctx context.Context, experiment string) (string, error) {
	e, err := r.Experiment(ctx, experiment)
	if err != nil {
		return "", err
	}
	cells, err := r.Cells(ctx, experiment)
	if err != nil {
		return "", err
	}
	ids := make([]string, 0, len(cells))
	for _, c := range cells {
		if c.RunID != "" {
			ids = append(ids, c.RunID)
		}
	}
	var evaluations, measured int64
	if err := r.db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(x.at_ms % 1000000007), 0) FROM "+ofKeys+" CROSS JOIN evaluation x ON x.run_id = r.id", jsonArray(ids)).
		Scan(&evaluations, &measured); err != nil {
		return "", diskFault(r.path, err)
	}
	text, err := json.Marshal([]any{e, cells, evaluations, measured})
	if err != nil {
		return "", fault.New(fault.Internal, "stamp of %s: %w", experiment, err)
	}
	return digestOf(text), nil
}
