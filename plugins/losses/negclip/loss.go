package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	loss.Temperature
}

// Defaults holds CLIP's settings.
var Defaults = Config{loss.PublishedTemperature}

// inputs names what the loss takes beside the pairs.
var inputs = []string{clip.InputTextNegatives}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "negclip", Version: "1.0.0", Summary: "contrastive loss whose images also tell their texts from hard ones (NegCLIP)",
	Config: Defaults, Inputs: inputs, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// define makes the contrastive loss of a batch of pairs with K further texts of each sample, which are wrong in a detail
// (Yuksekgonul et al. 2023, arXiv 2210.01936, §4, K = 1):
//
//	S     = exp(logit_scale)·v [t; n]ᵀ                           [B, B + B·K] for v, t [B, D], n [B·K, D]
//	value = ½·mean_i CE(S[i, :], i) + ½·mean_j CE(S[:, j], j)    i, j < B
//
// in nats. The further texts have no image to find.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Inputs:  inputs,
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		Build: func(b loss.Batch) []loss.Part {
			of := func(b loss.Batch, rows, all *graph.Node) *graph.Node {
				return b.Each(rows, func(rows, partners *graph.Node) *graph.Node {
					return graph.CrossEntropy(b.Logits(rows, all), partners, 0)
				})
			}
			texts := loss.Rows(b.Text, b.Input(clip.InputTextNegatives))
			return []loss.Part{
				{Name: loss.ImageToText, Weight: .5, Losses: of(b.Wide(1+b.Negatives), b.Image, texts)},
				{Name: loss.TextToImage, Weight: .5, Losses: of(b, b.Text, b.Image)},
			}
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}
