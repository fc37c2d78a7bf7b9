// Package mlflow writes runs to an MLflow server by its REST API: an experiment for each experiment, the settings as parameters, the
// metrics in batches.
//
// MLflow cannot delete points. A run that goes on is found by its tag tandem.run, and keeps what it has.
package mlflow

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/sink"
)

// The limits of one request that the server sets.
const (
	metricsPerBatch = 1000
	paramsPerBatch  = 100
)

// Tags of runs.
const (
	tagRun    = "tandem.run"
	tagStatus = "tandem.status"
	tagError  = "tandem.error"
)

// Settings say where a run goes.
type Settings struct {
	URI        string // "": $MLFLOW_TRACKING_URI
	Experiment string // "": that of the run
}

// Writer writes a run. It implements sink.Tracker.
type Writer struct {
	to   Settings
	c    *client
	id   string // MLflow's
	keys keys
}

var _ sink.Tracker = (*Writer)(nil)

// New returns a writer of runs.
func New(to Settings) *Writer { return &Writer{to: to, keys: keys{}} }

// number is an integer that JSON may have as a text.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	text := string(data)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	v, err := strconv.ParseInt(text, 10, 64)
	*n = number(v)
	return err
}

type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// remote is a run as the server tells it.
type remote struct {
	Info struct {
		RunID string `json:"run_id"`
	} `json:"info"`
	Data struct {
		Metrics []struct {
			Key  string `json:"key"`
			Step number `json:"step"`
		} `json:"metrics"`
		Params []pair `json:"params"`
	} `json:"data"`
}

// Open implements sink.Tracker.
func (w *Writer) Open(ctx context.Context, r sink.Run) (func(metric string) int, error) {
	c, err := newClient(w.to.URI)
	if err != nil {
		return nil, err
	}
	w.c = c
	name := w.to.Experiment
	if name == "" {
		name = r.Experiment
	}
	experiment, err := w.experiment(ctx, name)
	if err != nil {
		return nil, err
	}
	run, err := w.find(ctx, experiment, r)
	if err != nil {
		return nil, err
	}
	w.id = run.Info.RunID
	newest := map[string]int{}
	for _, m := range run.Data.Metrics {
		newest[m.Key] = int(m.Step)
	}
	of := sink.Newest(newest)
	return func(metric string) int { return of(w.keys.of(metric)) }, w.params(ctx, r.Params, run.Data.Params)
}

// experiment returns the id of an experiment, which it makes when there is none.
func (w *Writer) experiment(ctx context.Context, name string) (string, error) {
	var found struct {
		Experiment struct {
			ID    string `json:"experiment_id"`
			Stage string `json:"lifecycle_stage"`
		} `json:"experiment"`
	}
	get := func() (string, error) {
		return w.c.call(ctx, http.MethodGet, "experiments/get-by-name", url.Values{"experiment_name": {name}}, &found)
	}
	code, err := get()
	if code == "RESOURCE_DOES_NOT_EXIST" {
		var made struct {
			ID string `json:"experiment_id"`
		}
		if code, err = w.c.call(ctx, http.MethodPost, "experiments/create", map[string]any{"name": name}, &made); err == nil {
			return made.ID, nil
		}
		if code == "RESOURCE_ALREADY_EXISTS" { // another run of the sweep was faster
			_, err = get()
		}
	}
	if err == nil && found.Experiment.Stage == "deleted" {
		err = fault.New(fault.Invalid, "the experiment %q of the server is deleted", name).WithHint("restore it, or set report: [{mlflow: {experiment: NAME}}]")
	}
	return found.Experiment.ID, err
}

// find returns the server's run of r, which it makes when there is none.
func (w *Writer) find(ctx context.Context, experiment string, r sink.Run) (remote, error) {
	var found struct {
		Runs []remote `json:"runs"`
	}
	search := map[string]any{"experiment_ids": []string{experiment}, "max_results": 1, "filter": "tags.`" + tagRun + "` = '" + r.ID + "'"}
	if _, err := w.c.call(ctx, http.MethodPost, "runs/search", search, &found); err != nil {
		return remote{}, err
	}
	if len(found.Runs) > 0 {
		run := found.Runs[0]
		_, err := w.c.call(ctx, http.MethodPost, "runs/update", map[string]any{"run_id": run.Info.RunID, "status": "RUNNING"}, nil)
		return run, err
	}
	tags := []pair{{tagRun, r.ID}, {"tandem.seed", strconv.FormatUint(r.Seed, 10)}, {"mlflow.source.name", "tandem"}}
	if r.Variant != "" {
		tags = append(tags, pair{"tandem.variant", r.Variant})
	}
	var made struct {
		Run remote `json:"run"`
	}
	_, err := w.c.call(ctx, http.MethodPost, "runs/create", map[string]any{"experiment_id": experiment, "run_name": r.Name(),
		"start_time": r.Begun.UnixMilli(), "tags": tags}, &made)
	return made.Run, err
}

// params records the settings that the server does not have.
func (w *Writer) params(ctx context.Context, params map[string]any, have []pair) error {
	there := map[string]bool{}
	for _, p := range have {
		there[p.Key] = true
	}
	var all []pair
	names := keys{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if key := names.of(name); !there[key] {
			all = append(all, pair{key, param(params[name])})
		}
	}
	for batch := range slices.Chunk(all, paramsPerBatch) {
		if _, err := w.c.call(ctx, http.MethodPost, "runs/log-batch", map[string]any{"run_id": w.id, "params": batch}, nil); err != nil {
			return err
		}
	}
	return nil
}

// point is a metric of a request. Value is a number, or a text for what JSON has no number for.
type point struct {
	Key       string `json:"key"`
	Value     any    `json:"value"`
	Timestamp int64  `json:"timestamp"`
	Step      int64  `json:"step"`
}

// Write implements sink.Tracker. The server ignores points that it has with the same time, step and value: a batch may be sent again.
func (w *Writer) Write(ctx context.Context, points []sink.Points) error {
	var all []point
	for _, p := range points {
		for _, v := range p.Values {
			all = append(all, point{w.keys.of(v.Name), value(v.Value), p.At.UnixMilli(), int64(p.Step)})
		}
	}
	for batch := range slices.Chunk(all, metricsPerBatch) {
		if _, err := w.c.call(ctx, http.MethodPost, "runs/log-batch", map[string]any{"run_id": w.id, "metrics": batch}, nil); err != nil {
			return err
		}
	}
	return nil
}

// statuses are MLflow's words for how runs end.
var statuses = map[clip.Status]string{clip.StatusDone: "FINISHED", clip.StatusFailed: "FAILED", clip.StatusInterrupted: "KILLED", clip.StatusStopped: "KILLED"}

// End implements sink.Tracker.
func (w *Writer) End(ctx context.Context, e sink.End) error {
	tags := []pair{{tagStatus, string(e.Status)}, {tagError, cut(e.Error, maxTag)}}
	if e.Error == "" {
		tags = tags[:1]
	}
	if _, err := w.c.call(ctx, http.MethodPost, "runs/log-batch", map[string]any{"run_id": w.id, "tags": tags}, nil); err != nil {
		return err
	}
	_, err := w.c.call(ctx, http.MethodPost, "runs/update", map[string]any{"run_id": w.id, "status": statuses[e.Status], "end_time": e.At.UnixMilli()}, nil)
	return err
}

// Close implements sink.Tracker.
func (w *Writer) Close() error {
	if w.c != nil {
		w.c.http.CloseIdleConnections()
	}
	return nil
}
