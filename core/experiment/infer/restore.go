package infer

import (
	"context"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// restore starts the towers and the loss of a run from its newest checkpoint and asks the loss for its logits.
// With averaged, both towers compute with their averaged weights (train.ema); a run without any is fault.Invalid. The
// caller closes the model.
func restore(ctx context.Context, l lab.Lab, ref string, averaged bool) (*assemble.Model, assemble.Logits, error) {
	run, checkpoint, err := l.Trained(ctx, ref)
	if err != nil {
		return nil, assemble.Logits{}, err
	}
	s, err := l.RecordedSpec(run)
	if err != nil {
		return nil, assemble.Logits{}, err
	}
	image, text := s.Averages(assemble.RoleImage), s.Averages(assemble.RoleText)
	if averaged && !image && !text {
		return nil, assemble.Logits{}, fault.New(fault.Invalid, "run %s keeps no averaged weights", run.ID).WithHint("runs with train.ema do")
	}
	m, found, err := load(ctx, l, s, checkpoint.Dir)
	if err == nil && averaged && image {
		m.Image = eval.WithAverage(m.Image)
	}
	if err == nil && averaged && text {
		m.Text = eval.WithAverage(m.Text)
	}
	return m, found, err
}

// load starts the towers and the loss of s, gives them a checkpoint and asks the loss for its logits.
func load(ctx context.Context, l lab.Lab, s *spec.Spec, dir string) (*assemble.Model, assemble.Logits, error) {
	l.NoteUnguarded(s)
	m, err := assemble.OpenTowers(ctx, l.Catalog, s)
	if err != nil {
		return nil, assemble.Logits{}, err
	}
	return withLogits(ctx, m, m.LoadCheckpoint(ctx, dir))
}

// withLogits asks the loss of a model that was just loaded for its logits. After an error, also that of loading,
// it closes the model.
func withLogits(ctx context.Context, m *assemble.Model, err error) (*assemble.Model, assemble.Logits, error) {
	var found assemble.Logits
	if err == nil {
		found, err = m.Logits(ctx)
	}
	if err != nil {
		_ = m.Close() // the first error counts
		return nil, assemble.Logits{}, err
	}
	return m, found, nil
}
