package assess

import (
	"context"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/results/store"
)

// Made evaluates models that are made of other models' weights, all of one spec. Each has a run of its own, without a checkpoint.
// The towers are started once, when the first of them is needed.
type Made struct {
	lab   lab.Lab
	spec  *spec.Spec
	o     Options
	watch Watcher
	model *assemble.Model
}

// NewMade returns what evaluates models of s by the options' suite, or by the evaluations of s. Options.Checkpoint and Weights have
// no meaning.
func NewMade(l lab.Lab, s *spec.Spec, o Options, w Watcher) *Made {
	if o.Suite != nil {
		s = s.WithSuite(o.Suite)
	}
	o.Weights = Live
	return &Made{lab: l, spec: s, o: o, watch: w}
}

// Towers returns the towers and the loss, started and without data.
func (m *Made) Towers(ctx context.Context) (_ *assemble.Model, err error) {
	if m.model == nil {
		m.model, err = startTowers(ctx, m.lab, m.spec, m.watch)
	}
	return m.model, err
}

// Evaluate makes the evaluations of a model that are not recorded yet, as Evaluate does of a checkpoint, and records them at step 0
// of the run with an id. load gives the towers the model's parameters. The model, which title names, is number nth of so many.
func (m *Made) Evaluate(ctx context.Context, id, title string, nth, of int, load func(context.Context, *assemble.Model) error) ([]Result, error) {
	a := &assessment{Options: m.o, lab: m.lab, watch: m.watch, model: m.model, known: map[place]store.Evaluation{}, title: title, give: load}
	defer m.watch.Doing("")
	if err := a.find(ctx, id); err != nil {
		return nil, err
	}
	err := a.checkpoint(ctx, lab.Checkpoint{}, nth, of)
	m.model = a.model
	return a.out, err
}

// Close ends the towers.
func (m *Made) Close() error {
	if m.model == nil {
		return nil
	}
	return m.model.Close()
}
