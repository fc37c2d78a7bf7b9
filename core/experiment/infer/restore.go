package infer

import (
	"context"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/objective"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// restore starts the towers and the loss of a run from its newest checkpoint and asks the loss for its logits.
// With averaged, both towers compute with their averaged weights (train.ema); a run without any is fault.Invalid. The
// caller closes the model.
func restore(ctx context.Context, l lab.Lab, ref string, averaged bool) (*assemble.Model, logits, error) {
	run, checkpoint, err := l.Trained(ctx, ref)
	if err != nil {
		return nil, logits{}, err
	}
	s, err := l.RecordedSpec(run)
	if err != nil {
		return nil, logits{}, err
	}
	image, text := s.Averages(assemble.RoleImage), s.Averages(assemble.RoleText)
	if averaged && !image && !text {
		return nil, logits{}, fault.New(fault.Invalid, "run %s keeps no averaged weights", run.ID).WithHint("runs with train.ema do")
	}
	l.NoteUnguarded(s)
	m, err := assemble.OpenTowers(ctx, l.Catalog, s)
	if err != nil {
		return nil, logits{}, err
	}
	found := logits{}
	m, found, err = withLogits(ctx, m, m.LoadCheckpoint(ctx, checkpoint.Dir))
	if err == nil && averaged && image {
		m.Image = eval.WithAverage(m.Image)
	}
	if err == nil && averaged && text {
		m.Text = eval.WithAverage(m.Text)
	}
	return m, found, err
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
	out := logits{scale: 1}
	r, err := m.Loss.Compute(ctx, clip.LossRequest{Image: pairs, Text: pairs, Inputs: standIns(m, pairs)})
	if err != nil {
		return out, err
	}
	for _, of := range objective.Members(m.Loss) { // of a sum the first that has a scale
		prefix := ""
		if of.Name != "" {
			prefix = of.Name + "/"
		}
		scale, scaled := r.Scalars[prefix+"logit_scale"]
		bias, biased := r.Scalars[prefix+"logit_bias"]
		if scaled {
			out.scale = scale
		}
		if biased {
			out.bias = &bias
		}
		if scaled || biased {
			break
		}
	}
	return out, nil
}

// standIns returns some value for all that the loss takes beside image and text. Its scalars do not depend on them.
func standIns(m *assemble.Model, pairs *tensor.Tensor) map[string]clip.LossInput {
	if len(m.Inputs) == 0 {
		return nil
	}
	b, d := pairs.Shape[0], pairs.Shape[1]
	unit := func(shape ...int) *tensor.Tensor {
		t := tensor.New(tensor.F32, shape...)
		for i := 0; i < t.Shape.Elements(); i += shape[len(shape)-1] {
			t.F32()[i] = 1
		}
		return t
	}
	ints := func(first, step int32) *tensor.Tensor {
		t := tensor.New(tensor.I32, b)
		for i := range t.I32() {
			t.I32()[i] = first + step*int32(i)
		}
		return t
	}
	in := map[string]clip.LossInput{}
	for _, name := range m.Inputs {
		switch name {
		case clip.InputTextNegatives:
			in[name] = clip.LossInput{Value: unit(b*m.Negatives, d)}
		case clip.InputGroups:
			in[name] = clip.LossInput{Value: ints(0, 1)}
		case clip.InputImageTokens, clip.InputTextTokens:
			in[name] = clip.LossInput{Value: unit(b, 1, d), Lengths: ints(1, 0)}
		case clip.InputTeacherImage, clip.InputTeacherText:
			in[name] = clip.LossInput{Value: unit(b, m.Spec.Teacher.EmbedDim)}
		default:
			in[name] = clip.LossInput{Value: unit(b, d)}
		}
	}
	return in
}
