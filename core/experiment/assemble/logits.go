package assemble

import (
	"context"

	"tandem/core/clip"
	"tandem/core/experiment/objective"
	"tandem/core/tensor"
)

// Logits says how the loss that a model was trained with turns cosines into probabilities.
type Logits struct {
	Scale float64
	// Bias is nil for losses that compare the labels with one another: the probabilities are then the
	// softmax over the labels of Scale times cosine. A loss with a bias (SigLIP) judges each label on
	// its own, σ(Scale·cosine + Bias): none of the labels may fit, or several.
	Bias *float64
}

// Logits returns what the loss reports beside the loss of any two pairs; the scale is 1 when it has none.
func (m *Model) Logits(ctx context.Context) (Logits, error) {
	pairs := tensor.New(tensor.F32, 2, m.Spec.EmbedDim)
	values := pairs.F32()
	values[0], values[m.Spec.EmbedDim] = 1, 1 // unit rows
	out := Logits{Scale: 1}
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
			out.Scale = scale
		}
		if biased {
			out.Bias = &bias
		}
		if scaled || biased {
			break
		}
	}
	return out, nil
}

// standIns returns some value for all that the loss takes beside image and text. Its scalars do not depend on them.
func standIns(m *Model, pairs *tensor.Tensor) map[string]clip.LossInput {
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
