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
	Sigma float64 `with:"sigma" min:"0" max:"100" help:"σ of DCLW, whose pairs count the more the less alike they are, in proportion to 2 − exp(cosine/σ)/mean; 0.5 in the paper; 0: all alike (DCL)"`
}

// Defaults holds CLIP's temperature, learned.
var Defaults = Config{Temperature: loss.PublishedTemperature}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "dcl", Version: "1.0.0", Summary: "contrastive loss whose denominator leaves the pair itself out (DCL, DCLW)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// define makes the decoupled contrastive loss of a batch of pairs (Yeh et al. 2022, arXiv 2110.06848, eqs. 5 and 6) in
// CLIP's two directions:
//
//	S     = exp(logit_scale)·v tᵀ                              [B, B] for v, t [B, D]
//	value = ½·mean_i L(S, i) + ½·mean_j L(Sᵀ, j)
//	L(S, i) = −w_i·S_ii + log Σ_{j≠i} exp S_ij
//	w_i     = 2 − B·softmax_i(v_i·t_i/σ) in DCLW, else 1
//
// in nats. The gradient passes through the weights.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		Build: func(b loss.Batch) []loss.Part {
			pairs := graph.SumCols(graph.Mul(b.Image, b.Text)) // cosines [B]
			if cfg.Sigma > 0 {
				share := b.Softmax(graph.Reshape(graph.Scale(pairs, 1/cfg.Sigma, 0), 1, b.Size))
				pairs = graph.Mul(pairs, graph.Scale(graph.Reshape(share, b.Size), -float64(b.Size), 2))
			}
			pairs = graph.ScaleByExp(pairs, b.Scalars[loss.LogitScale])
			parts := b.Contrast(loss.Contrast{Losses: b.LogSumExpOfOthers})
			for i := range parts {
				parts[i].Losses = graph.Sub(parts[i].Losses, pairs)
			}
			return parts
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}
