package measure

import (
	"context"
	"errors"
	"path/filepath"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// Watcher sees the steps that are measured.
type Watcher interface {
	assemble.Watcher
	// Began is called once, when the plugins are configured.
	Began(assemble.Summary)
	// Step is called after every training step.
	Step(train.StepReport)
}

// rehearsal trains steps that count for nothing: without evaluations and checkpoints, and with a database that
// is thrown away. The functions observe, first and last may be nil.
type rehearsal struct {
	catalog *catalog.Catalog
	spec    *spec.Spec
	steps   int
	watch   Watcher
	observe func(process.Call)                           // is told of every call, from the goroutine that made it
	first   func()                                       // once the plugins are found
	ready   func(*assemble.Model, *store.DB) error       // once they are configured
	step    func(train.StepReport) error                 // after every step
	last    func(context.Context, *assemble.Model) error // after the last, while the plugins run
}

func (r rehearsal) run(ctx context.Context) (err error) {
	s := r.spec
	if err := assemble.CheckDevices(s); err != nil {
		return err
	}
	used, err := assemble.NewCatalog(r.catalog).Plugins(s)
	if err != nil {
		return err
	}
	if r.first != nil {
		r.first()
	}
	dir, release, err := leftover.Dir("tandem-bench-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	db, err := store.Open(filepath.Join(dir, "bench.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	run, err := db.Begin(ctx, assemble.Meta(s, used, s.Identity(used.Digests()), 0))
	if err != nil {
		return err
	}
	m, err := assemble.Open(ctx, s, assemble.Options{Catalog: r.catalog, Observe: r.observe}, r.watch)
	if err != nil {
		return err
	}
	defer m.Close()
	rec := &assemble.Recorder{Run: run, Watcher: r.watch}
	if err := m.Announce(rec); err != nil {
		return err
	}
	m.Summary.Steps = r.steps
	if err := r.ready(m, db); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	config := m.TrainConfig()
	config.LR = func(int) float64 { return s.Train.LR * 1e-3 }
	t, err := train.New(config, m.Parts, rec, train.Hooks{Step: func(report train.StepReport) {
		if err := r.step(report); err != nil {
			cancel(err)
		}
		r.watch.Step(report)
	}})
	if err != nil {
		return err
	}
	r.watch.Began(m.Summary)
	if _, err := t.Run(ctx, nil); err != nil {
		return errors.Join(ownCause(ctx), err)
	}
	if err := ownCause(ctx); err != nil {
		return err
	}
	if r.last != nil {
		return r.last(ctx, m)
	}
	return nil
}

// ownCause returns why a function of a rehearsal ended it; nil when none did.
func ownCause(ctx context.Context) error {
	if err := context.Cause(ctx); err != ctx.Err() {
		return err
	}
	return nil
}
