package infer

import (
	"context"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/tensor"
)

// restore starts the towers and the loss of a run from its newest checkpoint and asks the loss for its logits.
// The caller closes the model.
func restore(ctx context.Context, l lab.Lab, ref string) (*assemble.Model, logits, error) {
	run, checkpoint, err := l.Trained(ctx, ref)
	if err != nil {
		return nil, logits{}, err
	}
	s, err := l.RecordedSpec(run)
	if err != nil {
		return nil, logits{}, err
	}
	m, err := assemble.OpenTowers(ctx, l.Catalog, s)
	if err != nil {
		return nil, logits{}, err
	}
	return withLogits(ctx, m, m.LoadCheckpoint(ctx, checkpoint.Dir))
}

// withLogits asks the loss of a model that was just loaded for its logits. After an error, also that of loading,
// it closes the model.
func withLogits(ctx context.Context, m *assemble.Model, err error) (*assemble.Model, logits, error) {
	var found logits
	if err == nil {
		found, err = logitsOf(ctx, m)
	}
	if err != nil {
		_ = m.Close() // the first error counts
		return nil, logits{}, err
	}
	return m, found, nil
}

// logitsOf returns what the loss reports beside the loss of any two pairs; the scale is 1 when it has none.
func logitsOf(ctx context.Context, m *assemble.Model) (logits, error) {
	pairs := tensor.New(tensor.F32, 2, m.Spec.EmbedDim)
	values := pairs.F32()
	values[0], values[m.Spec.EmbedDim] = 1, 1 // unit rows
	r, err := m.Loss.Compute(ctx, clip.LossRequest{Image: pairs, Text: pairs})
	if err != nil {
		return logits{}, err
	}
	out := logits{scale: 1}
	if scale, ok := r.Scalars["logit_scale"]; ok {
		out.scale = scale
	}
	if bias, ok := r.Scalars["logit_bias"]; ok {
		out.bias = &bias
	}
	return out, nil
}
