package assess

import (
	"context"
	"fmt"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
)

// load starts the model when nobody has, and gives it the parameters of a checkpoint.
func (a *assessment) load(ctx context.Context, c lab.Checkpoint) error {
	if a.model == nil {
		m, err := startTowers(ctx, a.lab, a.spec, a.watch)
		if err != nil {
			return err
		}
		a.model = m
		if a.give == nil {
			a.tellOfOtherBuilds()
		}
	}
	if a.model.Evals == nil {
		a.watch.Doing("opening the data")
		if err := a.model.OpenEvaluations(ctx); err != nil {
			return err
		}
		if err := a.model.Announce(listener{a.watch}); err != nil {
			return err
		}
	}
	if a.give != nil {
		return a.give(ctx, a.model)
	}
	a.watch.Doing(fmt.Sprintf("loading the checkpoint of step %d", c.Step))
	return a.model.LoadCheckpoint(ctx, c.Dir)
}

// tellOfOtherBuilds tells of encoders that are not the ones which made the run: its figures may then differ from those of training.
func (a *assessment) tellOfOtherBuilds() {
	now, _ := a.lab.Plugins(a.own) // what else is not found is not needed
	for _, then := range a.run.Plugins {
		for _, p := range now {
			if p.Role == then.Role && (p.Role == assemble.RoleImage || p.Role == assemble.RoleText) && p.Binary.SHA256 != "" && p.Binary.SHA256 != then.SHA256 {
				a.watch.Event("warning", fmt.Sprintf("run %s was made by another build of the plugin %s (%s, sha256 %.12s…; now %s, %.12s…): figures may differ in more than their last bits",
					a.run.ID, then.Name, then.Version, then.SHA256, p.Descriptor.Version, p.Binary.SHA256))
			}
		}
	}
}

// startTowers starts the towers and the loss of s.
func startTowers(ctx context.Context, l lab.Lab, s *spec.Spec, w Watcher) (*assemble.Model, error) {
	w.Doing("starting plugins")
	l.NoteUnguarded(s)
	return assemble.OpenTowers(ctx, l.Catalog, s)
}

// listener passes events on to a watcher, and records nothing.
type listener struct{ w Watcher }

func (listener) Metrics(int, []clip.Metric) error                         { return nil }
func (listener) Predictions(int, string, string, []clip.Prediction) error { return nil }
func (listener) Checkpoint(int, string) error                             { return nil }
func (listener) Flush(context.Context) error                              { return nil }
func (l listener) Event(level, _, message, detail string) error {
	l.w.Event(level, strings.TrimSuffix(message+"; "+detail, "; "))
	return nil
}
