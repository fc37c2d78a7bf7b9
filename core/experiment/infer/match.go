package infer

import (
	"context"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/tensor"
)

// Matcher tells how well captions match pictures, by the towers of a trained run.
type Matcher struct{ m *assemble.Model }

// NewMatcher starts the towers of the run that ref names, with its newest checkpoint. The caller closes it.
func NewMatcher(ctx context.Context, l lab.Lab, ref string) (*Matcher, error) {
	m, _, err := restore(ctx, l, ref, false)
	if err != nil {
		return nil, err
	}
	return &Matcher{m}, nil
}

// Close ends the towers.
func (x *Matcher) Close() error { return x.m.Close() }

// Match returns the cosine of each picture's embedding with that of its caption. Pictures get the evaluation transform.
func (x *Matcher) Match(ctx context.Context, pictures []vision.Picture, captions []string) ([]float32, error) {
	if len(pictures) != len(captions) {
		return nil, fault.New(fault.Invalid, "%d pictures with %d captions", len(pictures), len(captions))
	}
	side := x.m.Summary.Image.ImageSize
	batch := tensor.New(tensor.U8, len(pictures), side, side, 3)
	var r vision.Resizer
	for i, p := range pictures {
		n := 3 * side * side
		r.Evaluate(batch.Data[i*n:(i+1)*n], p, side)
	}
	var images, texts []float32
	var err error
	if images, err = embed(ctx, x.m.Image, clip.ForwardRequest{Images: batch, Mode: clip.Eval}, nil); err != nil {
		return nil, err
	}
	if texts, err = embed(ctx, x.m.Text, clip.ForwardRequest{Texts: captions, Mode: clip.Eval}, nil); err != nil {
		return nil, err
	}
	dim := x.m.Spec.EmbedDim
	out := make([]float32, len(pictures))
	for i := range out {
		for j := range dim {
			out[i] += images[i*dim+j] * texts[i*dim+j]
		}
	}
	return out, nil
}
