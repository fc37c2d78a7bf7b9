package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"tandem/core/fault"
	"tandem/core/results/metric"
)

// RunInfo describes a run in a list. Times are ISO 8601 in UTC; numbers that are not known yet
// are nil.
type RunInfo struct {
	ID          string   `json:"id"`
	Experiment  string   `json:"experiment"`
	Variant     string   `json:"variant"`
	Seed        int64    `json:"seed"`
	Status      string   `json:"status"`
	StartedAt   string   `json:"started_at"`
	EndedAt     *string  `json:"ended_at"`
	DurationS   float64  `json:"duration_s"`
	Steps       *int64   `json:"steps"`
	SamplesSeen *float64 `json:"samples_seen"`
	ImagesPerS  *float64 `json:"images_per_s"` // mean over the steps
	Device      string   `json:"device"`
	Tainted     bool     `json:"tainted"`
	Warnings    int64    `json:"warnings"` // events that are no mere information
	// Metric is the experiment's deciding metric and Value its last value, when it has one.
	Metric string  `json:"metric,omitempty"`
	Value  *Number `json:"value,omitempty"`
}

// Filter chooses runs; zero fields choose all.
type Filter struct {
	Experiment string
	Variant    string
	Status     string
	Limit      int
}

// runColumns selects what RunInfo.columns takes.
const runColumns = `v.run_id, v.experiment, v.variant, v.seed, v.status, v.started_at, v.ended_at,
	v.duration_s, v.steps, v.samples_seen, v.samples_per_s, v.device, v.tainted`

func (i *RunInfo) columns() []any {
	return []any{&i.ID, &i.Experiment, &i.Variant, &i.Seed, &i.Status, &i.StartedAt, &i.EndedAt,
		&i.DurationS, &i.Steps, &i.SamplesSeen, &i.ImagesPerS, &i.Device, &i.Tainted}
}

// runValueColumns selects the deciding metric of the experiment e, its last value, whether the run v has one, and its warnings.
const runValueColumns = `, e.metric,
	(SELECT f.last FROM v_final f WHERE f.run_id = v.run_id AND f.metric = e.metric),
	EXISTS (SELECT 1 FROM v_final f WHERE f.run_id = v.run_id AND f.metric = e.metric),
	(SELECT count(*) FROM event x WHERE x.run_id = (SELECT id FROM run WHERE key = v.run_id) AND x.level <> 'info')`

const runInfoColumns = runColumns + runValueColumns + `
	FROM v_runs v JOIN experiment e ON e.name = v.experiment`

func scanRunInfo(rows *sql.Rows) (i RunInfo, err error) {
	var value sql.NullFloat64
	var has bool
	err = rows.Scan(append(i.columns(), &i.Metric, &value, &has, &i.Warnings)...)
	if has {
		n := Number(number(value))
		i.Value = &n
	}
	return i, err
}

// Runs lists runs, newest first.
func (r *Reader) Runs(ctx context.Context, f Filter) ([]RunInfo, error) {
	all := []RunInfo{}
	err := r.EachRun(ctx, f, func(i RunInfo) error {
		all = append(all, i)
		return nil
	})
	return all, err
}

// EachRun calls do for every run that f chooses, newest first, and ends with the first error of do.
func (r *Reader) EachRun(ctx context.Context, f Filter, do func(RunInfo) error) error {
	limit := f.Limit
	if limit <= 0 {
		limit = -1
	}
	// The runs are chosen before the view makes rows of them.
	rows, err := r.db.QueryContext(ctx, `WITH chosen AS (
			SELECT r.id, r.key, r.started_ms FROM run r
			WHERE (?1 = '' OR r.experiment_id = (SELECT id FROM experiment WHERE name = ?1))
				AND (?2 = '' OR r.variant = ?2) AND (?3 = '' OR r.status = ?3)
			ORDER BY r.started_ms DESC, r.id DESC LIMIT ?4
		) SELECT `+runColumns+runValueColumns+`
		FROM chosen c CROSS JOIN v_runs v ON v.run_id = c.key JOIN experiment e ON e.name = v.experiment
		ORDER BY c.started_ms DESC, c.id DESC`, f.Experiment, f.Variant, f.Status, limit)
	if err != nil {
		return diskFault(r.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		i, err := scanRunInfo(rows)
		if err != nil {
			return diskFault(r.path, err)
		}
		if err := do(i); err != nil {
			return err
		}
	}
	return diskFault(r.path, rows.Err())
}

// RunDetail holds all that is stored of a run but its curves and predictions.
type RunDetail struct {
	RunInfo
	Identity      string            `json:"identity"`
	Host          string            `json:"host"`
	PID           int               `json:"pid"`
	Cores         int               `json:"cores"`
	Devices       int               `json:"devices"`
	Threads       json.RawMessage   `json:"threads"`
	Libraries     json.RawMessage   `json:"libraries"`
	GitCommit     string            `json:"git_commit"`
	GitDirty      bool              `json:"git_dirty"`
	DatasetDigest string            `json:"dataset_digest"`
	Taint         string            `json:"taint,omitempty"`
	Error         *Failure          `json:"error"`
	Parameters    *int64            `json:"parameters"` // of all towers and the loss; nil before they are configured
	StepMS        *float64          `json:"step_ms"`    // mean over the steps
	Facts         map[string]any    `json:"facts"`
	Params        map[string]any    `json:"params"`
	Plugins       []Plugin          `json:"plugins"`
	Metrics       map[string]Series `json:"metrics"`
	Checkpoints   []Checkpoint      `json:"checkpoints"`
	Artifacts     []Artifact        `json:"artifacts"`
	Predictions   []PredictionInfo  `json:"predictions"`
	Evaluations   []Evaluation      `json:"evaluations"` // of its checkpoints, after the fact
	Sources       []Source          `json:"sources"`     // of the training data; none of runs of older programs
	Skips         []Skip            `json:"skips"`
	Events        []Event           `json:"events"`
	History       []StatusChange    `json:"status_history"`
	Spec          string            `json:"spec"`
}

// Series summarises a metric of a run.
type Series struct {
	First    Number  `json:"first"`
	Last     Number  `json:"last"`
	LastStep int     `json:"last_step"`
	Min      Number  `json:"min"`
	Max      Number  `json:"max"`
	Best     Number  `json:"best"`
	BestStep *int    `json:"best_step"`
	Mean     Number  `json:"mean"` // of the finite values
	N        int64   `json:"n"`
	Better   float64 `json:"better"` // +1: larger values are better, -1: smaller, 0: neither
}

// Event holds a line of a run's log.
type Event struct {
	At      string `json:"at"`
	Step    int    `json:"step"`
	Level   string `json:"level"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"`
}

// Artifact names a file that a run made. Present programs record none; databases of older ones may have some.
type Artifact struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// PredictionInfo says which predictions are stored.
type PredictionInfo struct {
	Step       int    `json:"step"`
	Evaluation string `json:"evaluation"`
	Target     string `json:"target"`
	N          int    `json:"n"`
	Correct    int    `json:"correct"`
}

// StatusChange records one state that a run has been in.
type StatusChange struct {
	At     string `json:"at"`
	Status string `json:"status"`
	Note   string `json:"note,omitempty"`
}

// Get returns everything of the run with an id (see FindRun for prefixes). Errors: fault.NotFound when there is none.
func (r *Reader) Get(ctx context.Context, id string) (*RunDetail, error) {
	infos, err := collect(ctx, r, scanRunInfo, "SELECT "+runInfoColumns+" WHERE v.run_id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return nil, fault.New(fault.NotFound, "there is no run %s in %s", id, r.path)
	}
	d := &RunDetail{RunInfo: infos[0], Facts: map[string]any{}}
	var failure Failure
	var threads, libraries string
	var row int64
	if err := r.db.QueryRowContext(ctx, `SELECT id, identity, host, pid, cores, devices, threads, libraries, git_commit,
		git_dirty, dataset_digest, taint, coalesce((SELECT spec FROM run_spec WHERE run_id = run.id), ''), error_kind, error_plugin, error_message, error_hint, error_detail
		FROM run WHERE key = ?`, id).Scan(&row, &d.Identity, &d.Host, &d.PID, &d.Cores, &d.Devices, &threads, &libraries,
		&d.GitCommit, &d.GitDirty, &d.DatasetDigest, &d.Taint, &d.Spec,
		&failure.Kind, &failure.Plugin, &failure.Message, &failure.Hint, &failure.Detail); err != nil {
		return nil, diskFault(r.path, err)
	}
	d.Threads, d.Libraries = json.RawMessage(threads), json.RawMessage(libraries)
	if failure.Kind != "" {
		d.Error = &failure
	}
	return d, errors.Join(
		r.details(ctx, d, row),
		r.sources(ctx, d, row),
		r.logs(ctx, d, row),
	)
}

func (r *Reader) details(ctx context.Context, d *RunDetail, row int64) (err error) {
	if d.Params, err = r.params(ctx, d.ID); err != nil {
		return err
	}
	if d.Metrics, err = r.Final(ctx, d.ID); err != nil {
		return err
	}
	type fact struct {
		key   string
		value any
	}
	facts, err := collect(ctx, r, func(rows *sql.Rows) (f fact, err error) {
		err = rows.Scan(&f.key, &f.value)
		return f, err
	}, "SELECT key, value FROM run_fact WHERE run_id = ?", row)
	if err != nil {
		return err
	}
	for _, f := range facts {
		d.Facts[f.key] = f.value
	}
	if n, ok := d.Facts["parameters.total"].(int64); ok {
		d.Parameters = &n
	}
	d.StepMS = stepMS(d)
	d.Plugins, err = collect(ctx, r, func(rows *sql.Rows) (p Plugin, err error) {
		err = rows.Scan(&p.Role, &p.Name, &p.Version, &p.SHA256)
		return p, err
	}, "SELECT role, name, version, sha256 FROM run_plugin WHERE run_id = ? ORDER BY role", row)
	return err
}

// stepMS returns the mean time of a step: from train/step_ms when it is recorded, else from the batch size and the throughput.
func stepMS(d *RunDetail) *float64 {
	if s, ok := d.Metrics[metric.StepMS]; ok {
		ms := float64(s.Mean)
		return &ms
	}
	var batch float64
	switch v := d.Params["train.batch_size"].(type) {
	case int64:
		batch = float64(v)
	case float64:
		batch = v
	}
	if batch > 0 && d.ImagesPerS != nil && *d.ImagesPerS > 0 {
		ms := 1000 * batch / *d.ImagesPerS
		return &ms
	}
	return nil
}

func (r *Reader) logs(ctx context.Context, d *RunDetail, row int64) (err error) {
	if d.Checkpoints, err = r.Checkpoints(ctx, d.ID); err != nil {
		return err
	}
	const iso = "strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch')"
	if d.Events, err = collect(ctx, r, func(rows *sql.Rows) (e Event, err error) {
		err = rows.Scan(&e.At, &e.Step, &e.Level, &e.Kind, &e.Message, &e.Detail)
		return e, err
	}, "SELECT "+iso+", step, level, kind, message, detail FROM event WHERE run_id = ? ORDER BY id", row); err != nil {
		return err
	}
	if d.Artifacts, err = collect(ctx, r, func(rows *sql.Rows) (a Artifact, err error) {
		err = rows.Scan(&a.Kind, &a.Path, &a.SHA256, &a.Bytes)
		return a, err
	}, "SELECT kind, path, sha256, bytes FROM artifact WHERE run_id = ? ORDER BY path", row); err != nil {
		return err
	}
	if d.Predictions, err = collect(ctx, r, func(rows *sql.Rows) (p PredictionInfo, err error) {
		err = rows.Scan(&p.Step, &p.Evaluation, &p.Target, &p.N, &p.Correct)
		return p, err
	}, "SELECT step, evaluation, target, n, correct FROM prediction WHERE run_id = ? ORDER BY id", row); err != nil {
		return err
	}
	if d.Evaluations, err = r.Evaluations(ctx, d.ID); err != nil {
		return err
	}
	d.History, err = collect(ctx, r, func(rows *sql.Rows) (s StatusChange, err error) {
		err = rows.Scan(&s.At, &s.Status, &s.Note)
		return s, err
	}, "SELECT "+iso+", status, note FROM run_status WHERE run_id = ? ORDER BY seq", row)
	return err
}

// Final returns the summary of every metric of a run, by name.
func (r *Reader) Final(ctx context.Context, id string) (map[string]Series, error) {
	type named struct {
		name string
		s    Series
	}
	all, err := collect(ctx, r, func(rows *sql.Rows) (n named, err error) {
		var first, last, low, high, best, mean sql.NullFloat64
		s := &n.s
		err = rows.Scan(&n.name, &first, &last, &s.LastStep, &low, &high, &best, &s.BestStep, &mean, &s.N, &s.Better)
		s.First, s.Last, s.Min = Number(number(first)), Number(number(last)), Number(number(low))
		s.Max, s.Best, s.Mean = Number(number(high)), Number(number(best)), Number(number(mean))
		return n, err
	}, `SELECT m.name, s.first, s.last, s.last_step, s.min, s.max, s.best, s.best_step,
		s.sum / nullif(s.n_finite, 0), s.n, m.better * m.directed
		FROM run r JOIN run_summary s ON s.run_id = r.id JOIN metric m ON m.id = s.metric_id WHERE r.key = ?`, id)
	if err != nil {
		return nil, err
	}
	final := make(map[string]Series, len(all))
	for _, n := range all {
		final[n.name] = n.s
	}
	return final, nil
}

func (r *Reader) params(ctx context.Context, id string) (map[string]any, error) {
	all, err := collect(ctx, r, func(rows *sql.Rows) (p param, err error) {
		err = rows.Scan(&p.key, &p.kind, &p.value)
		return p, err
	}, "SELECT key, type, value FROM v_params WHERE run_id = ?", id)
	if err != nil {
		return nil, err
	}
	params := make(map[string]any, len(all))
	for _, p := range all {
		text, _ := p.value.(string)
		switch p.kind {
		case "bool":
			params[p.key] = text == "true"
		case "json":
			params[p.key] = json.RawMessage(text)
		default:
			params[p.key] = p.value
		}
	}
	return params, nil
}
