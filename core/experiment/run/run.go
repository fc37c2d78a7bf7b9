// Package run trains, resumes and records one run.
//
// It assembles the plugins of a spec, holds the data against what the run began with, trains with the step loop
// of core/experiment/train, evaluates, and records everything. It prints nothing and knows no flags: what there is
// to see goes to a Watcher. Many runs at a time are the business of core/experiment/schedule.
package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/wire"
	"tandem/core/results/store"
)

// How long the end of a run waits to be recorded, and that of a run that was to end at once.
const (
	endPatience   = 10 * time.Minute
	hastyPatience = 30 * time.Second
)

// Outcome tells how a run ended.
type Outcome struct {
	ID     string
	Status clip.Status
	Result train.Result
}

// Check reports what keeps a spec from being trained here: devices that are not there, a batch that l's ranks cannot share, a tracker
// whose server nothing names.
func Check(l lab.Lab, s *spec.Spec) error {
	if l.Several() {
		if _, _, err := train.MicroBatch(s.Train.BatchSize, s.Train.MicroBatchSize, l.Group.Size()); err != nil {
			return err
		}
	}
	if err := checkReport(s); err != nil {
		return err
	}
	return assemble.CheckDevices(s)
}

// Start trains a spec as a new run. Closing stop ends it with a checkpoint and status interrupted;
// cancelling ctx ends it at once. The error is that of the run, which the database holds too; an
// interrupted run is no error.
func Start(ctx context.Context, l lab.Lab, s *spec.Spec, stop <-chan struct{}, w Watcher) (Outcome, error) {
	if err := Check(l, s); err != nil {
		return Outcome{}, err
	}
	used, err := l.Plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	digest, err := (&assemble.Identifier{}).Identity(s, used)
	if err != nil {
		return Outcome{}, err
	}
	db, err := l.Database()
	if err != nil {
		return Outcome{}, err
	}
	defer db.Close()
	if _, err := db.MarkDead(ctx); err != nil {
		return Outcome{}, err
	}
	rec, err := db.Begin(ctx, assemble.Meta(s, used, digest, l.Cores))
	if err != nil {
		return Outcome{}, err
	}
	return Attempt{Spec: s, Record: rec, From: lab.Checkpoint{Step: -1}, Plugins: used}.Do(ctx, l, stop, w)
}

// Resume goes on with the run that ref names (an id, a prefix or latest) from its newest checkpoint,
// with the spec that it was recorded with.
func Resume(ctx context.Context, l lab.Lab, ref string, stop <-chan struct{}, w Watcher) (Outcome, error) {
	db, err := l.Database()
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
	s, err := l.RecordedSpec(detail)
	if err != nil {
		return Outcome{}, err
	}
	if err := Check(l, s); err != nil {
		return Outcome{}, err
	}
	used, err := l.Plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	from, err := l.FindCheckpoint(detail.ID, detail.Checkpoints, train.Verify)
	if err != nil {
		return Outcome{}, err
	}
	rec, err := db.Resume(ctx, detail.ID, from.Step)
	if err != nil {
		return Outcome{}, err
	}
	if err := rec.SetPlugins(used.Rows()); err != nil {
		return Outcome{}, err
	}
	if changed := used.ChangedSince(detail.Plugins); changed != "" {
		w = onBegin{w, func() {
			r := &assemble.Recorder{Run: rec, Watcher: w}
			_ = r.Taint("plugin_changed", "plugins changed since the run began: "+changed) // a failure shows at the next record
		}}
	}
	return Attempt{Spec: s, Record: rec, From: from, Plugins: used}.Do(ctx, l, stop, w)
}

// ResumeSpec goes on with the newest unfinished run of a spec's identity, as Resume does. fault.NotFound when there
// is none.
func ResumeSpec(ctx context.Context, l lab.Lab, s *spec.Spec, stop <-chan struct{}, w Watcher) (Outcome, error) {
	used, err := l.Plugins(s)
	if err != nil {
		return Outcome{}, err
	}
	digest, err := (&assemble.Identifier{}).Identity(s, used)
	if err != nil {
		return Outcome{}, err
	}
	id, err := resumable(ctx, l, digest)
	if err != nil {
		return Outcome{}, err
	}
	if id == "" {
		return Outcome{}, fault.New(fault.NotFound, "no run of this spec waits to be resumed").
			WithHint("start one without --resume, or name a run: --resume=RUN (see runner list)")
	}
	return Resume(ctx, l, id, stop, w)
}

// resumable returns the newest unfinished run of an identity; "" when there is none.
func resumable(ctx context.Context, l lab.Lab, identity string) (string, error) {
	db, err := l.Database()
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

// latestResumable returns the newest run that was interrupted or failed.
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

// Attempt describes one go at a run whose record exists already.
type Attempt struct {
	Spec    *spec.Spec
	Record  *store.Run
	From    lab.Checkpoint                     // what it goes on from
	Plugins assemble.Plugins                   // as the record names them
	Bench   *assemble.Workbench                // of a sweep's trials; nil: the run starts and ends all its plugins
	Tap     func(role string) func(wire.Heard) // see assemble.Options
	// GivenUp, when not nil, says why a run that stop ended was given up for good; "" when it was not.
	GivenUp func() string

	groups map[string][]byte // of GPUs, of several ranks
}

// Do trains and records the run, and finishes the record. Closing stop ends the run with a checkpoint; cancelling
// ctx ends it at once.
func (a Attempt) Do(ctx context.Context, l lab.Lab, stop <-chan struct{}, w Watcher) (Outcome, error) {
	rec := a.Record
	out := Outcome{ID: rec.ID(), Status: clip.StatusFailed}
	w = &serial{w: w}
	during, cancel := together(ctx, l.Ranks)
	defer cancel()
	trackers := a.report(l, w)
	result, runErr := a.train(during, l, stop, w)
	out.Result = result
	if fault.KindOf(runErr) == fault.Canceled && ctx.Err() == nil && l.Several() && l.Group.Cause() != nil {
		runErr = l.Group.Cause()
	}
	switch {
	case runErr == nil && !result.Stopped:
		out.Status = clip.StatusDone
	case runErr == nil, fault.KindOf(runErr) == fault.Canceled:
		out.Status = clip.StatusInterrupted
	}
	cause := runErr
	if out.Status == clip.StatusInterrupted {
		cause = nil
		if a.GivenUp != nil && runErr == nil && a.GivenUp() != "" {
			out.Status, cause = clip.StatusStopped, fault.New(fault.Canceled, "%s", a.GivenUp())
			_ = rec.Event("info", "stopped", a.GivenUp(), "") // the run's status says it too
			_ = os.RemoveAll(filepath.Join(l.Dir(rec.ID()), lab.EvaluationsDir))
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
	trackers.end(ctx, out.Status, cause)
	if out.Status == clip.StatusInterrupted && fault.KindOf(runErr) == fault.Canceled {
		runErr = nil
	}
	return out, runErr
}
