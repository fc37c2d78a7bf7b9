package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	loss.Temperature
	Clip            bool    `with:"clip" help:"add the contrastive loss of pictures and texts; false, for a sum with a loss that has it: loss: [{plugin: clip}, {plugin: slip, with: {clip: false}}]"`
	ViewWeight      float64 `with:"view_weight" min:"0" max:"1e4" help:"weight of the loss of the two views of each picture; a sum may weigh it in place of this"`
	ViewTemperature float64 `with:"view_temperature" min:"1e-3" max:"10" help:"temperature of the loss of the views, which is fixed"`
}

// Defaults holds the published settings.
var Defaults = Config{Temperature: loss.PublishedTemperature, Clip: true, ViewWeight: 1, ViewTemperature: .1}

// inputs names what the loss takes beside the pairs.
var inputs = []string{clip.InputImageView2}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "slip", Version: "1.0.0", Summary: "contrastive loss with self-supervision of two views of each picture (SLIP)",
	Config: Defaults, Inputs: inputs, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// views is the part of the two views, as it is called in results.
const views = "views"

// define makes CLIP's loss with SimCLR's of two augmented pictures of each sample (Mu et al. 2022, arXiv 2112.12750, §3;
// Chen et al. 2020, arXiv 2002.05709, §2.1):
//
//	value   = CLIP(v, t) + λ·½·mean_i (N(v, u, i) + N(u, v, i))
//	N(a, c, i) = −log(exp(a_i·c_i/τ) / (Σ_j exp(a_i·c_j/τ) + Σ_{j≠i} exp(a_i·a_j/τ)))
//
// for v, t and the second view u [B, D], in nats. The paper compares the views in a space of their own, after a further
// projection; here it is that of pictures and texts.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	if !cfg.Clip && cfg.ViewWeight == 0 {
		return loss.Definition{}, fault.New(fault.Invalid, "0, and clip is false: nothing would be trained").WithPath("with.view_weight").
			WithHint("raise it, or set clip: true")
	}
	d := loss.Definition{Inputs: inputs, Report: func(func(string) float64) map[string]float64 { return nil }}
	if cfg.Clip {
		d.Scalars, d.Learn, d.Report = []loss.Scalar{cfg.Scalar()}, cfg.Learnable, loss.ReportTemperature
	}
	d.Build = func(b loss.Batch) (parts []loss.Part) {
		if cfg.Clip {
			parts = b.Contrast(loss.Contrast{})
		}
		cosines := func(a, c *graph.Node) *graph.Node {
			return graph.Scale(graph.MatMul(a, c, false, true), 1/cfg.ViewTemperature, 0)
		}
		from := func(one, other *graph.Node) *graph.Node {
			return b.Wide(2).Each(one, func(rows, partners *graph.Node) *graph.Node {
				own := b.WithoutPartners(cosines(rows, one), partners)
				return graph.CrossEntropy(loss.Columns(cosines(rows, other), own), partners, 0)
			})
		}
		second := b.Input(clip.InputImageView2)
		both := graph.Scale(graph.Add(from(b.Image, second), from(second, b.Image)), .5, 0)
		return append(parts, loss.Part{Name: views, Weight: cfg.ViewWeight, Losses: both})
	}
	return d, cfg.Check(Defaults.InitTemperature)
}
