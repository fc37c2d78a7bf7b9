package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
)

func newLoss(options ...loss.Option) *loss.Loss { return loss.New(define, options...) }

// define makes the symmetric contrastive loss of a batch of pairs (Radford et al. 2021, §2.3, figure 3):
//
//	S     = exp(logit_scale)·v tᵀ                      [B, B] for v, t [B, D]
//	value = ½·mean_i CE(S[i, :], i) + ½·mean_j CE(S[:, j], j)
//
// in nats. The targets may be smoothed, one direction left out, and hard negatives given more weight.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg, err := decode(c.With)
	if err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		ByRows:  true,
		Build: func(b loss.Batch) []loss.Part {
			contrast := loss.Contrast{Direction: cfg.Direction, Losses: func(logits, partners *graph.Node) *graph.Node {
				if cfg.HardNegatives > 0 {
					return hard(b, logits, partners, cfg.HardNegatives)
				}
				return graph.CrossEntropy(logits, partners, cfg.LabelSmoothing)
			}}
			return b.Contrast(contrast)
		},
		Report: loss.ReportTemperature,
	}, nil
}

// hard gives the losses of rows of logits s [n, B] whose negatives count the more the more they are like the row
// (Robinson et al. 2021, arXiv 2010.04592, §3 with τ⁺ = 0; Radenovic et al. 2023, arXiv 2301.02280, §3.3 with α = 1):
//
//	w_ij = (B − 1)·exp(β·s_ij) / Σ_{k≠i} exp(β·s_ik)       so that the weights of a row are 1 on average
//	L_i  = −log(exp(s_ii) / (exp(s_ii) + Σ_{j≠i} w_ij·exp(s_ij)))
//
// which with β = 0 is cross-entropy. The gradient passes through the weights, as in both papers' code. The sum of the
// negatives is (B − 1)·Σ exp((1 + β)·s_ij) / Σ exp(β·s_ij), whose logarithm is the difference of two logsumexps.
func hard(b loss.Batch, s, partners *graph.Node, beta float64) *graph.Node {
	negatives := graph.Sub(b.LogSumExpOfOthers(graph.Scale(s, 1+beta, 0), partners), b.LogSumExpOfOthers(graph.Scale(s, beta, 0), partners))
	return graph.Softplus(graph.Sub(graph.Scale(negatives, 1, math.Log(float64(b.Size-1))), b.Positives(s, partners)))
}
