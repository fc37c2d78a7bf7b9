package run

import (
	"context"
	"strings"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/sink"
	"tandem/core/results/sink/mlflow"
	"tandem/core/results/sink/tensorboard"
	"tandem/core/results/sink/trackio"
	"tandem/core/results/store"
)

// trackerPatience is how long the end of a run waits for trackers to take what they do not have yet.
const trackerPatience = 10 * time.Second

// trackers feeds the trackers of a run; nil: it has none.
type trackers struct {
	feed   *sink.Feed
	record *recorded
}

// recorded reads what the database has of a run. It implements sink.Record.
type recorded struct {
	path, id string
	mu       sync.Mutex
	reader   *store.Reader // opened when it is needed
}

func (r *recorded) open() (*store.Reader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader != nil {
		return r.reader, nil
	}
	var err error
	r.reader, err = store.OpenReader(r.path)
	return r.reader, err
}

func (r *recorded) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader != nil {
		_ = r.reader.Close() // it only read
	}
}

// LastSteps implements sink.Record.
func (r *recorded) LastSteps(ctx context.Context) (map[string]int, error) {
	reader, err := r.open()
	if err != nil {
		return nil, err
	}
	return reader.LastSteps(ctx, r.id)
}

// Between implements sink.Record.
func (r *recorded) Between(ctx context.Context, after, upTo int) ([]sink.Points, error) {
	reader, err := r.open()
	if err != nil {
		return nil, err
	}
	steps, err := reader.Between(ctx, r.id, after, upTo)
	points := make([]sink.Points, len(steps))
	for i, s := range steps {
		points[i] = sink.Points{Step: s.Step, Values: s.Values}
	}
	return points, err
}

// report begins to feed the trackers that the spec names.
func (a Attempt) report(l lab.Lab, w Watcher) *trackers {
	if len(a.Spec.Report) == 0 {
		return nil
	}
	var named []sink.Named
	for _, r := range a.Spec.Report {
		named = append(named, sink.Named{Name: r.Tracker, Tracker: tracker(l, r)})
	}
	t := &trackers{}
	t.record = &recorded{path: l.DB, id: a.Record.ID()}
	r := described(a)
	r.Record = t.record
	t.feed = sink.Start(r, named, func(level, message string) {
		w.Event(level, message)
		if err := a.Record.Event(level, "report", message, ""); fault.KindOf(err) == fault.Conflict { // it has finished
			end, cancel := context.WithTimeout(context.Background(), hastyPatience)
			defer cancel()
			_ = a.Record.Afterwards(end, level, "report", message, "") // it was told
		}
	})
	a.Record.Hear(func(at time.Time, step int, values []clip.Metric) {
		t.feed.Points(sink.Points{At: at, Step: step, Values: values})
	})
	return t
}

// checkReport reports a tracker of the spec that lacks what the environment should say.
func checkReport(s *spec.Spec) error {
	for _, r := range s.Report {
		if r.Tracker == "mlflow" {
			if _, err := mlflow.Server(r.URI); err != nil {
				return err
			}
		}
	}
	return nil
}

// tracker returns what writes to a tracker of the spec.
func tracker(l lab.Lab, r spec.Report) sink.Tracker {
	switch r.Tracker {
	case "trackio":
		return trackio.New(trackio.Settings{Dir: r.Dir, Project: r.Project})
	case "mlflow":
		return mlflow.New(mlflow.Settings{URI: r.URI, Experiment: r.Experiment})
	}
	dir := r.Dir
	if dir == "" {
		dir = l.TrackerDir(r.Tracker)
	}
	return tensorboard.New(dir)
}

// described tells trackers what an attempt makes. Where else its points go is no setting of it.
func described(a Attempt) sink.Run {
	params := a.Spec.Params()
	for name := range params {
		if strings.HasPrefix(name, "report[") {
			delete(params, name)
		}
	}
	return sink.Run{ID: a.Record.ID(), Experiment: a.Spec.Name, Variant: a.Spec.Variant, Seed: a.Spec.Seed,
		Params: params, Spec: a.Spec.YAML(false), From: a.From.Step, Begun: time.Now()}
}

// end tells the trackers how the run ended, and waits a while for them, not at all when ctx is over.
func (t *trackers) end(ctx context.Context, status clip.Status, cause error) {
	if t == nil {
		return
	}
	e := sink.End{Status: status, At: time.Now()}
	if cause != nil {
		e.Error = cause.Error()
	}
	t.feed.End(ctx, e, trackerPatience)
	t.record.close()
}
