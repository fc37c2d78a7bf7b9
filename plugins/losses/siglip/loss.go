package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
)

// The parts of the loss, as they are called in results. Their sum is the value.
const (
	positive = "positive" // of the pair itself: −log σ(z_ii)
	negative = "negative" // of an image with the other texts: −Σ_{j≠i} log σ(−z_ij)
)

func newLoss(options ...loss.Option) *loss.Loss { return loss.New(define, options...) }

// define makes the sigmoid loss of a batch of pairs (Zhai et al. 2023, arXiv 2303.15343, algorithm 1):
//
//	z     = exp(logit_scale)·v tᵀ + logit_bias         [B, B] for v, t [B, D]
//	value = −(1/B)·Σ_ij log σ(y_ij·z_ij),              y = +1 on the diagonal, −1 elsewhere
//
// in nats. −log σ(x) is softplus(−x), which neither overflows nor loses small values.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg, err := decode(c.With)
	if err != nil {
		return loss.Definition{}, err
	}
	bias, err := cfg.bias(c.BatchSize)
	if err != nil {
		return loss.Definition{}, err
	}
	unbounded := math.MaxFloat32
	return loss.Definition{
		Scalars: []loss.Scalar{
			cfg.Scalar(),
			{Name: loss.LogitBias, Init: bias, Min: -unbounded, Max: unbounded},
		},
		Learn:  cfg.Learnable,
		ByRows: true,
		Build:  build,
		Report: func(value func(string) float64) map[string]float64 {
			report := loss.ReportTemperature(value)
			report["logit_bias"] = value(loss.LogitBias)
			return report
		},
	}, nil
}

// build makes both parts. It masks the matrix of logits rather than picking from it, so that a small part is not the
// difference of two large ones.
func build(b loss.Batch) []loss.Part {
	both := b.Pieces(b.Image, func(rows, partners *graph.Node) *graph.Node {
		logits := graph.ScaleByExp(graph.MatMul(rows, b.Text, false, true), b.Scalars[loss.LogitScale])
		logits = graph.Add(logits, b.Scalars[loss.LogitBias])                // z [n, B]
		own := b.Own(partners)                                               // 1 for a pair of its own
		losses := graph.Softplus(graph.Mul(logits, graph.Scale(own, -2, 1))) // softplus(−y·z)
		others := graph.Scale(own, -1, 1)                                    // 1 − own
		sum := func(of *graph.Node) *graph.Node { return graph.Reshape(graph.SumCols(graph.Mul(losses, of)), -1, 1) }
		return loss.Columns(sum(own), sum(others)) // [n, 2]
	})
	part := func(name string, column int) loss.Part {
		losses := graph.SliceTokens(graph.Reshape(both, b.Rows, 2, 1), column, 1)
		return loss.Part{Name: name, Weight: 1, Losses: graph.Reshape(losses, b.Rows)}
	}
	return []loss.Part{part(positive, 0), part(negative, 1)}
}
