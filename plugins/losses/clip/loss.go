package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
)

// The parts of the loss, as they are called in results.
const (
	imageToText = "image_to_text" // each image finds its text: cross-entropy over the rows of the logits
	textToImage = "text_to_image" // each text finds its image: over the columns
)

func newLoss(options ...loss.Option) *loss.Loss { return loss.New(define, options...) }

// define makes the symmetric contrastive loss of a batch of pairs (Radford et al. 2021, §2.3, figure 3):
//
//	S     = exp(logit_scale)·v tᵀ                      [B, B] for v, t [B, D]
//	value = ½·mean_i CE(S[i, :], i) + ½·mean_j CE(S[:, j], j)
//
// in nats. The targets may be smoothed, and one direction left out.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg, err := decode(c.With)
	if err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{cfg.temperature().Scalar()},
		Learn:   cfg.Learnable,
		Build: func(b loss.Batch) (parts []loss.Part) {
			logits := func(rows, all *graph.Node) *graph.Node { // [rows, B]
				return graph.ScaleByExp(graph.MatMul(rows, all, false, true), b.Scalars[loss.LogitScale])
			}
			losses := func(logits, partners *graph.Node) *graph.Node {
				return graph.CrossEntropy(logits, partners, cfg.LabelSmoothing)
			}
			// of gives the losses of each row of one side against all of the other.
			of := func(rows, all *graph.Node) *graph.Node {
				return b.Blocks(rows, func(rows, partners *graph.Node) *graph.Node { return losses(logits(rows, all), partners) })
			}
			var images, texts func() *graph.Node
			if b.Whole() {
				s := logits(b.Image, b.Text)
				partners := b.Partners(0, b.Size)
				images = func() *graph.Node { return losses(s, partners) }
				texts = func() *graph.Node { return losses(graph.Transpose(s), partners) }
			} else {
				images = func() *graph.Node { return of(b.Image, b.Text) }
				texts = func() *graph.Node { return of(b.Text, b.Image) }
			}
			weight := 1.0
			if cfg.Direction == "both" {
				weight = .5
			}
			if cfg.Direction != "text" {
				parts = append(parts, loss.Part{Name: imageToText, Weight: weight, Losses: images()})
			}
			if cfg.Direction != "image" {
				parts = append(parts, loss.Part{Name: textToImage, Weight: weight, Losses: texts()})
			}
			return parts
		},
		Report: loss.ReportTemperature,
	}, nil
}
