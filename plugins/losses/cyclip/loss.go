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
	InModal    float64 `with:"in_modal" min:"0" max:"1e4" help:"λ1: weight of the squared differences of the cosines of two images and of their texts"`
	CrossModal float64 `with:"cross_modal" min:"0" max:"1e4" help:"λ2: weight of the squared differences of the cosines of an image with another's text and of its text with the other image"`
}

// Defaults holds the published settings.
var Defaults = Config{Temperature: loss.PublishedTemperature, InModal: .25, CrossModal: .25}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "cyclip", Version: "1.0.0", Summary: "contrastive loss with cyclic consistency within and across modalities (CyCLIP)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// The parts beside those of the contrastive loss.
const (
	inModal    = "in_modal"
	crossModal = "cross_modal"
)

// define makes the cyclic contrastive loss of a batch of pairs (Goel et al. 2022, arXiv 2205.14459, §2.2):
//
//	value = CLIP(v, t) + λ1·mean_i Σ_j (v_i·v_j − t_i·t_j)² + λ2·mean_i Σ_j (v_i·t_j − t_i·v_j)²
//
// for v, t [B, D], in nats. The cosines of the two further terms are not divided by the temperature. They are B times
// the mean over all pairs of samples, as in the authors' code; the paper writes the sum over B.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		Build: func(b loss.Batch) []loss.Part {
			// apart gives Σ_j (v_i·a_j − t_i·c_j)² for each i.
			apart := func(a, c *graph.Node) *graph.Node {
				return b.Each(b.Image, func(images, partners *graph.Node) *graph.Node {
					texts := graph.Gather(b.Text, partners)
					d := graph.Sub(graph.MatMul(images, a, false, true), graph.MatMul(texts, c, false, true))
					return graph.SumCols(graph.Mul(d, d))
				})
			}
			parts := b.Contrast(loss.Contrast{})
			if cfg.InModal > 0 {
				parts = append(parts, loss.Part{Name: inModal, Weight: cfg.InModal, Losses: apart(b.Image, b.Text)})
			}
			if cfg.CrossModal > 0 {
				parts = append(parts, loss.Part{Name: crossModal, Weight: cfg.CrossModal, Losses: apart(b.Text, b.Image)})
			}
			return parts
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}
