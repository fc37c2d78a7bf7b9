package task

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// attempt makes one go at a trial that this task has. The error is ledger.ErrLost, or that of the task itself.
func (t *tasker) attempt(ctx context.Context, c claimed, stop <-chan struct{}) (ledger.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.lease.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	from := t.snapshotOf(c)
	w := &watcher{Watcher: t.w.Trial(c.trial, c.lease.Attempt(), from != ""), lease: c.lease, cancel: cancel}
	outcome, err := t.make(ctx, c, from, stop, w)
	if broken := (schedule.NotWhole{}); from != "" && !w.began && errors.As(err, &broken) {
		t.w.Note("trial " + c.trial.ID + " starts over: what it was to go on from is not whole: " + broken.Error())
		w.failure = nil
		removeParameters(c.lease.Path(runsEnding)) // of the run that is given up
		outcome, err = t.make(ctx, c, "", stop, w)
	}
	if w.failure != nil {
		err = w.failure
	}
	end := t.outcome(outcome, err, isClosed(stop))
	end.Final = process.BrokeRule(err)
	end.Steps, end.Value = w.steps, w.value
	if end.Step == 0 || end.Status != ledger.Done {
		end.Step = w.saved
	}
	if err = c.lease.End(end); errors.Is(err, ledger.ErrLost) {
		t.leave(c)
	}
	return end, err
}

// leave removes what a lost attempt wrote, where a later one has left what is gone on from.
func (t *tasker) leave(c claimed) {
	now, err := t.ledger.Read(c.trial.ID)
	if err != nil {
		return
	}
	for n, a := range now.Attempts {
		if a.N > c.lease.Attempt() && DatabaseOf(t.ledger, now, n) != "" {
			clear(t.ledger, c.trial.ID, c.lease.Attempt())
			return
		}
	}
}

// snapshotOf returns the newest snapshot of a trial's database that the attempts before have left; "" when there is none.
func (t *tasker) snapshotOf(c claimed) string {
	for n := len(c.state.Attempts) - 1; n >= 0; n-- {
		if path := DatabaseOf(t.ledger, c.state, n); path != "" {
			return path
		}
	}
	return ""
}

// make goes on with a trial from a snapshot of its database, or begins it.
func (t *tasker) make(ctx context.Context, c claimed, from string, stop <-chan struct{}, w *watcher) (out run.Outcome, err error) {
	defer fault.Catch(&err)
	trial, used, err := t.bundle.Load(c.trial)
	if err != nil {
		return out, err
	}
	dir, release, err := leftover.Dir("tandem-task-")
	if err != nil {
		return out, fault.New(fault.Exhausted, "a folder on a local disk: %w", err).WithHint("TMPDIR names another place")
	}
	defer release()
	l := lab.Lab{DB: filepath.Join(dir, "results.db"), RunsDir: c.lease.Path(runsEnding), TrackersDir: filepath.Dir(t.bundle.TrialsDir()),
		Catalog: t.bundle.Catalog(), Note: t.w.Note}
	if from != "" {
		if err := copyFile(from, l.DB); err != nil {
			return out, fault.New(fault.Unavailable, "the trial's database: %w", err)
		}
		if err := inherit(runsBeside(from), l.RunsDir); err != nil {
			return out, fault.New(fault.Unavailable, "the trial's checkpoints: %w", err).WithFile(l.RunsDir, 0, 0).WithHint("the shared folder is full or gone")
		}
	}
	db, err := l.Database()
	if err != nil {
		return out, schedule.AsNotWhole(err)
	}
	defer db.Close()
	if _, err := db.Seize(ctx); err != nil {
		return out, schedule.AsNotWhole(err)
	}
	var one sync.Mutex // training and the evaluations beside it both save
	w.save = func(ctx context.Context) error {
		one.Lock()
		defer one.Unlock()
		return t.save(ctx, c, db, dir)
	}
	l.Save = w.save
	if from != "" {
		w.saved = newestStep(ctx, db, c.state)
	}
	out, err = schedule.One(ctx, l, db, trial, used, t.bundle.Metric(), stop, w)
	end, done := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer done()
	if isClosed(c.lease.Lost()) {
		return out, err
	}
	if out.ID != "" {
		if final, readErr := db.Final(end, out.ID); readErr == nil {
			if v, ok := final[t.bundle.Metric()]; ok {
				value := float64(v.Last)
				w.value = &value
			}
		}
	}
	return out, errors.Join(err, w.save(end))
}

// newestStep returns the step of the newest checkpoint that the database has.
func newestStep(ctx context.Context, db *store.DB, s ledger.State) int {
	for n := len(s.Attempts) - 1; n >= 0; n-- {
		if end := s.Attempts[n].End; end != nil && end.Run != "" {
			if d, err := db.Get(ctx, end.Run); err == nil && len(d.Checkpoints) > 0 {
				return d.Checkpoints[0].Step
			}
		}
	}
	return 0
}

// save puts a snapshot of the database into the folder of the trial, whole or not at all. What the attempts before wrote is then not
// needed any more. An attempt that was taken over saves nothing: ledger.ErrLost.
func (t *tasker) save(ctx context.Context, c claimed, db *store.DB, scratch string) error {
	snapshot := filepath.Join(scratch, "snapshot.db")
	_ = os.Remove(snapshot)
	if err := db.Snapshot(ctx, snapshot); err != nil {
		return err
	}
	to := c.lease.Path(databaseEnding)
	temp := to + ".new"
	err := copyFile(snapshot, temp)
	if err == nil && c.lease.IsLost() {
		os.Remove(temp)
		return ledger.ErrLost
	}
	if err == nil {
		err = os.Rename(temp, to)
	}
	if err != nil {
		os.Remove(temp)
		return fault.New(fault.Unavailable, "the trial's results: %w", err).WithFile(to, 0, 0).
			WithHint("the shared folder is full or gone; the trial goes on from its last checkpoint that was saved whole")
	}
	for _, a := range c.state.Attempts {
		clear(t.ledger, c.trial.ID, a.N)
	}
	removeParameters(filepath.Join(c.lease.Dir(), sharedRuns))
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// watcher saves the database with every checkpoint, and tells the ledger how far the run is.
type watcher struct {
	run.Watcher
	lease  *ledger.Lease
	save   func(context.Context) error
	cancel func()

	began   bool
	id      string
	steps   int
	saved   int // the step of the newest checkpoint
	value   *float64
	failure error // of saving, which ends the run
}

// Began implements run.Watcher.
func (w *watcher) Began(s assemble.Summary) {
	w.began, w.id, w.steps = true, s.ID, s.Steps
	w.lease.Report(ledger.Progress{Run: s.ID, Step: s.FromStep, Steps: s.Steps})
	w.Watcher.Began(s)
}

// Step implements run.Watcher.
func (w *watcher) Step(r train.StepReport) {
	w.lease.Report(ledger.Progress{Run: w.id, Step: r.Step, Steps: w.steps})
	w.Watcher.Step(r)
}

// Checkpointed implements run.Watcher.
func (w *watcher) Checkpointed(step int, dir string) {
	if err := w.save(context.Background()); err != nil {
		w.failure = err
		w.cancel()
		return
	}
	w.saved = step
	w.Watcher.Checkpointed(step, dir)
}

var _ run.Watcher = (*watcher)(nil)
