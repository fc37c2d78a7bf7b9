package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/graph"
	"tandem/core/lossnet"
)

// The parts of the loss, as they are called in results.
const (
	imageToText = "image_to_text" // each image finds its text: cross-entropy over the rows of the logits
	textToImage = "text_to_image" // each text finds its image: over the columns
)

func newLoss(options ...lossnet.Option) *lossnet.Loss { return lossnet.New(define, options...) }

// define is the symmetric contrastive loss of a batch of pairs (Radford et al. 2021, §2.3, figure 3):
//
//	S     = exp(logit_scale)·v tᵀ                      [B, B] for v, t [B, D]
//	value = ½·mean_i CE(S[i, :], i) + ½·mean_j CE(S[:, j], j)
//
// in nats. The targets may be smoothed, and one direction left out.
func define(c clip.LossConfig) (lossnet.Definition, error) {
	cfg, err := decode(c.With)
	if err != nil {
		return lossnet.Definition{}, err
	}
	return lossnet.Definition{
		Scalars: []lossnet.Scalar{{Name: lossnet.LogitScale, Init: cfg.initial(), Min: 0, Max: cfg.MaxLogitScale}},
		Learn:   cfg.Learnable,
		Build: func(b lossnet.Batch) (parts []lossnet.Part) {
			logits := graph.ScaleByExp(graph.MatMul(b.Image, b.Text, false, true), b.Scalars[lossnet.LogitScale]) // [B, B]
			weight := 1.0
			if cfg.Direction == "both" {
				weight = .5
			}
			if cfg.Direction != "text" {
				parts = append(parts, lossnet.Part{Name: imageToText, Weight: weight,
					Losses: graph.CrossEntropy(logits, b.Diagonal, cfg.LabelSmoothing)})
			}
			if cfg.Direction != "image" {
				parts = append(parts, lossnet.Part{Name: textToImage, Weight: weight,
					Losses: graph.CrossEntropy(graph.Transpose(logits), b.Diagonal, cfg.LabelSmoothing)})
			}
			return parts
		},
		Report: func(value func(string) float64) map[string]float64 {
			s := value(lossnet.LogitScale)
			return map[string]float64{"logit_scale": math.Exp(s), "temperature": math.Exp(-s)}
		},
	}, nil
}
