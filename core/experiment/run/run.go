// Package run turns a spec into a run: it finds and starts the plugins, configures them in the order
// that they need, trains, evaluates, and records everything.
//
// It is the one room where core/experiment/spec, core/plugin/process, core/experiment/train, core/experiment/eval and core/results/store meet. It prints
// nothing and knows no flags: what there is to see goes to a Watcher.
package run

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// Lab is where runs are made: the database, the folder of their files and the plugins.
type Lab struct {
	DB      string // the database file
	RunsDir string // a folder per run: checkpoints, logs
	Catalog *process.Catalog
	Note    func(message string) // is told what is waited for; nil: nobody is

	bench *workbench // of a sweep's trials; nil for a single run
	used  parts      // the plugins as the run's record names them; nil: whatever there is
	slow  func(process.Slow)
}

// How long the end of a run waits to be recorded, and that of a run that was to end at once.
const (
	endPatience   = 10 * time.Minute
	hastyPatience = 30 * time.Second
)

// Watcher sees a run as it goes. Its methods are called one at a time, from any goroutine.
type Watcher interface {
	// Doing names what takes a while now: "starting plugins", "evaluating emoji"; "" when it is over.
	Doing(what string)
	// Began is called once, when the plugins are configured and the run is recorded.
	Began(Begin)
	// Step is called after every training step.
	Step(train.StepReport)
	// Evaluated is called after every evaluation.
	Evaluated(step int, name string, values []clip.Metric)
	// Checkpointed is called after every checkpoint.
	Checkpointed(step int, dir string)
	// Event is what is also recorded as an event of the run.
	Event(level, message string)
}

// Begin is what is known when training begins.
type Begin struct {
	ID            string
	Spec          *spec.Spec
	Image, Text   clip.EncoderInfo
	Loss          clip.LossInfo
	Data          clip.DatasetInfo
	Steps         int // in all
	FromStep      int // steps done before, on a resume
	StepsPerEpoch int
}

// Parameters is the number of scalars of all parameters, frozen ones and the loss's included.
func (b Begin) Parameters() int64 { return b.Image.Parameters + b.Text.Parameters + b.Loss.Parameters }

// Trained is how many of Parameters are trained.
func (b Begin) Trained() int64 { return b.Parameters() - b.Image.Frozen - b.Text.Frozen }

// Outcome is how a run ended.
type Outcome struct {
	ID     string
	Status clip.Status
	Result train.Result
}

// Load reads and checks a spec with everything this machine can say about it.
func (l Lab) Load(file string, set []string) (*spec.Spec, error) {
	return spec.Load(file, spec.Options{Set: set, Env: os.Environ(), Catalog: newCatalog(l.Catalog)})
}

// Sweep reads and checks a spec and lists its trials: those of its ablate block, or the one that it is
// without one. Every cell is checked; no process is started.
func (l Lab) Sweep(file string, set []string) (*sweep.Sweep, error) {
	c := newCatalog(l.Catalog)
	read := map[string]string{} // digests of init.weights: the trials share them
	digest := func(path string) (string, error) {
		if sha, ok := read[path]; ok {
			return sha, nil
		}
		sha, err := weightsDigest(path)
		read[path] = sha
		return sha, err
	}
	return sweep.Plan(spec.Read(file, spec.Options{Set: set, Env: os.Environ(), Catalog: c}), func(s *spec.Spec) (string, error) {
		used, err := c.plugins(s)
		if err != nil {
			return "", err
		}
		return identityBy(digest, s, used)
	})
}

// Run trains a spec as a new run. Closing stop ends it with a checkpoint and status interrupted;
// cancelling ctx ends it at once. The error is that of the run, which the database holds too; an
// interrupted run is no error.
func (l Lab) Run(ctx context.Context, s *spec.Spec, stop <-chan struct{}, w Watcher) (Outcome, error) {
	if err := checkDevices(s); err != nil {
		return Outcome{}, err
	}
	used, err := l.plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	digest, err := identity(s, used)
	if err != nil {
		return Outcome{}, err
	}
	db, err := l.database()
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	if _, err := db.MarkDead(ctx); err != nil {
		return Outcome{}, err
	}
	rec, err := db.Begin(ctx, meta(s, used, digest))
	if err != nil {
		return Outcome{}, err
	}
	l.used = used
	return l.record(ctx, s, rec, found{step: -1}, stop, w, nil)
}

// Resume goes on with the run that ref names (an id, a prefix or latest) from its newest checkpoint,
// with the spec that it was recorded with.
func (l Lab) Resume(ctx context.Context, ref string, stop <-chan struct{}, w Watcher) (Outcome, error) {
	db, err := l.database()
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	if _, err := db.MarkDead(ctx); err != nil {
		return Outcome{}, err
	}
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return Outcome{}, err
	}
	defer r.Close()
	if ref == "" {
		ref, err = latestResumable(ctx, r)
	} else {
		ref, err = r.FindRun(ctx, ref)
	}
	if err != nil {
		return Outcome{}, err
	}
	detail, err := r.Get(ctx, ref)
	if err != nil {
		return Outcome{}, err
	}
	if detail.Status == string(clip.StatusDone) {
		return Outcome{}, fault.New(fault.Conflict, "run %s is done; there is nothing to resume", detail.ID).
			WithHint("runner show %s", detail.ID)
	}
	s, err := l.stored(detail)
	if err != nil {
		return Outcome{}, err
	}
	if err := checkDevices(s); err != nil {
		return Outcome{}, err
	}
	used, err := l.plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	from, err := l.find(detail.ID, detail.Checkpoints, train.Verify)
	if err != nil {
		return Outcome{}, err
	}
	rec, err := db.Resume(ctx, detail.ID, from.step)
	if err != nil {
		return Outcome{}, err
	}
	l.used = used
	changed := changedPlugins(detail.Plugins, used)
	if err := rec.SetPlugins(used.rows()); err != nil {
		return Outcome{}, err
	}
	if len(changed) > 0 {
		w = told{w, func() {
			message := "plugins changed since the run began: " + list(changed) + "; the run is tainted: its numbers are those of neither"
			w.Event("warning", message)
			_ = rec.Taint(message)
			_ = rec.Event("warning", "plugin_changed", message, "")
		}}
	}
	return l.record(ctx, s, rec, from, stop, w, nil)
}

// ResumeSpec is Resume of the newest unfinished run of a spec's identity. fault.NotFound when there
// is none.
func (l Lab) ResumeSpec(ctx context.Context, s *spec.Spec, stop <-chan struct{}, w Watcher) (Outcome, error) {
	used, err := l.plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	digest, err := identity(s, used)
	if err != nil {
		return Outcome{}, err
	}
	id, err := l.resumable(ctx, digest)
	if err != nil {
		return Outcome{}, err
	}
	if id == "" {
		return Outcome{}, fault.New(fault.NotFound, "no run of this spec waits to be resumed").
			WithHint("start one without --resume, or name a run: --resume=RUN (see runner list)")
	}
	return l.Resume(ctx, id, stop, w)
}

func (l Lab) resumable(ctx context.Context, identity string) (string, error) {
	db, err := l.database()
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.MarkDead(ctx); err != nil {
		return "", err
	}
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return r.FindResumable(ctx, identity)
}

func latestResumable(ctx context.Context, r *store.Reader) (string, error) {
	runs, err := r.Runs(ctx, store.Filter{})
	if err != nil {
		return "", err
	}
	for _, run := range runs {
		if run.Status == string(clip.StatusInterrupted) || run.Status == string(clip.StatusFailed) {
			return run.ID, nil
		}
	}
	return "", fault.New(fault.NotFound, "no run waits to be resumed").WithHint("runner list shows all runs")
}

// stored is the spec that a run was recorded with.
func (l Lab) stored(d *store.RunDetail) (*spec.Spec, error) {
	name := filepath.Join(l.Dir(d.ID), "spec.yaml")
	return spec.Parse(name, []byte(d.Spec), spec.Options{Catalog: newCatalog(l.Catalog), Begun: true})
}

// record runs s under rec and ends it: rec is finished when record returns. given, when not nil, says why a run
// that stop ended was given up for good; "" when it was not.
func (l Lab) record(ctx context.Context, s *spec.Spec, rec *store.Run, from found, stop <-chan struct{}, w Watcher,
	given func() string) (Outcome, error) {
	out := Outcome{ID: rec.ID(), Status: clip.StatusFailed}
	w = &serial{w: w}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result, runErr := l.train(ctx, s, rec, from, stop, w)
	out.Result = result
	switch {
	case runErr == nil && !result.Stopped:
		out.Status = clip.StatusDone
	case runErr == nil, fault.KindOf(runErr) == fault.Canceled:
		out.Status = clip.StatusInterrupted
	}
	cause := runErr
	if out.Status == clip.StatusInterrupted {
		cause = nil
		if given != nil && runErr == nil && given() != "" {
			out.Status, cause = clip.StatusStopped, fault.New(fault.Canceled, "%s", given())
			_ = rec.Event("info", "stopped", given(), "") // the run's status says it too
		}
	}
	// The run's own context may be over; its end must be recorded all the same, also when another process keeps
	// the database locked just now. Who asked for an end at once waits less long.
	patience := endPatience
	if ctx.Err() != nil {
		patience = hastyPatience
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancelEnd()
	if err := rec.Finish(end, out.Status, cause); err != nil {
		runErr = errors.Join(runErr, err)
	}
	if out.Status == clip.StatusInterrupted && fault.KindOf(runErr) == fault.Canceled {
		runErr = nil
	}
	return out, runErr
}

// serial calls a Watcher one call at a time.
type serial struct {
	mu sync.Mutex
	w  Watcher
}

func (s *serial) do(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *serial) Doing(what string)       { s.do(func() { s.w.Doing(what) }) }
func (s *serial) Began(b Begin)           { s.do(func() { s.w.Began(b) }) }
func (s *serial) Step(r train.StepReport) { s.do(func() { s.w.Step(r) }) }
func (s *serial) Evaluated(step int, name string, v []clip.Metric) {
	s.do(func() { s.w.Evaluated(step, name, v) })
}
func (s *serial) Checkpointed(step int, dir string) { s.do(func() { s.w.Checkpointed(step, dir) }) }
func (s *serial) Event(level, message string)       { s.do(func() { s.w.Event(level, message) }) }

// told is a Watcher with something to say once the run has begun.
type told struct {
	Watcher
	say func()
}

func (t told) Began(b Begin) { t.Watcher.Began(b); t.say() }

// Quiet is a Watcher that looks away.
type Quiet struct{}

// Doing implements Watcher.
func (Quiet) Doing(string) {}

// Began implements Watcher.
func (Quiet) Began(Begin) {}

// Step implements Watcher.
func (Quiet) Step(train.StepReport) {}

// Evaluated implements Watcher.
func (Quiet) Evaluated(int, string, []clip.Metric) {}

// Checkpointed implements Watcher.
func (Quiet) Checkpointed(int, string) {}

// Event implements Watcher.
func (Quiet) Event(string, string) {}

var _ Watcher = Quiet{}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// database opens the results database for writing; waiting for others is told to Note.
func (l Lab) database() (*store.DB, error) { return store.Open(l.DB, store.OnWait(l.Note)) }

func (l Lab) note(message string) {
	if l.Note != nil {
		l.Note(message)
	}
}
