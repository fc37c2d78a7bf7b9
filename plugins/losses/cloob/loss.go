package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	loss.Temperature
	Beta float64 `with:"beta" min:"0" max:"1e4" help:"β of the Hopfield networks: how sharply an embedding retrieves those of its batch that are like it"`
}

// Defaults holds the published settings: β of 8 and a fixed 1/τ of 30.
var Defaults = Config{
	Temperature: loss.Temperature{InitTemperature: 1. / 30, InitLogitScale: loss.NotGiven, MaxLogitScale: math.Log(100)},
	Beta:        8,
}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "cloob", Version: "1.0.0", Summary: "InfoLOOB on embeddings that modern Hopfield networks retrieve (CLOOB)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// The parts of the loss, by what is stored in the Hopfield network.
const (
	images = "images"
	texts  = "texts"
)

// define makes the loss of a batch of pairs (Fürst et al. 2022, arXiv 2110.11316, §2, eqs. 2–7):
//
//	U(q, k) = norm(softmax(β·q kᵀ)·k)                   what queries q [B, D] retrieve of stored k [B, D]
//	L(x, y) = mean_i (−x_i·y_i/τ + log Σ_{j≠i} exp(x_i·y_j/τ))
//	value   = L(U(v, v), U(t, v)) + L(U(t, t), U(v, t))
//
// for v, t [B, D], in nats; 1/τ = exp(logit_scale). The authors' code multiplies the value by τ.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		Build: func(b loss.Batch) []loss.Part {
			retrieved := func(queries, stored *graph.Node) *graph.Node {
				return b.Each(queries, func(queries, _ *graph.Node) *graph.Node {
					share := b.Softmax(graph.Scale(graph.MatMul(queries, stored, false, true), cfg.Beta, 0))
					return graph.L2Norm(graph.MatMul(share, stored, false, false), 1e-12)
				})
			}
			part := func(name string, own, other *graph.Node) loss.Part {
				x, y := retrieved(own, own), retrieved(other, own)
				others := b.Each(x, func(rows, partners *graph.Node) *graph.Node {
					return b.LogSumExpOfOthers(b.Logits(rows, y), partners)
				})
				pairs := graph.ScaleByExp(graph.SumCols(graph.Mul(x, y)), b.Scalars[loss.LogitScale])
				return loss.Part{Name: name, Weight: 1, Losses: graph.Sub(others, pairs)}
			}
			return []loss.Part{part(images, b.Image, b.Text), part(texts, b.Text, b.Image)}
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}
