package main

import (
	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	Margin    float64 `with:"margin" min:"0" max:"2" help:"by how much a pair's cosine shall be above those with its negatives"`
	Negatives string  `with:"negatives" enum:"sum,hardest" help:"sum: every negative counts; hardest: that alone which is most like the pair (VSE++), for towers that know something: others collapse to one point, where the loss is twice the margin"`
}

// Defaults holds the published margin, and all negatives: the hardest alone train no tower from nothing.
var Defaults = Config{Margin: .2, Negatives: "sum"}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "triplet", Version: "1.0.0", Summary: "hinge loss on the negatives of a batch, or on the hardest (VSE++)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// define makes the triplet loss of a batch of pairs (Faghri et al. 2018, arXiv 1707.05612, §3.2, eqs. 5 and 6), for which
// the embeddings are of unit length:
//
//	S       = v tᵀ                                          [B, B] for v, t [B, D]
//	L(S, i) = Σ_{j≠i} [α + S_ij − S_ii]₊                    or the largest of these, in VSE++
//	value   = mean_i L(S, i) + mean_j L(Sᵀ, j)
//
// It has no parameters.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Build: func(b loss.Batch) []loss.Part {
			return b.Contrast(loss.Contrast{Weight: 2,
				Logits: func(rows, all *graph.Node) *graph.Node { return graph.MatMul(rows, all, false, true) },
				Losses: func(cosines, partners *graph.Node) *graph.Node {
					asked := graph.Scale(b.Positives(cosines, partners), 1, -cfg.Margin) // of each negative: S_ii − α
					if cfg.Negatives == "hardest" {
						others := graph.Sub(cosines, graph.Scale(b.Own(partners), 4, 0)) // below −1, and near enough to compare
						return loss.Hinge(graph.Sub(graph.MaxCols(others), asked))
					}
					hinges := loss.Hinge(graph.Sub(graph.Transpose(cosines), asked)) // [B, n]
					return graph.Scale(graph.SumRows(hinges), 1, -cfg.Margin)        // less that of the pair itself, which is α
				},
			})
		},
		Report: func(func(string) float64) map[string]float64 { return nil },
	}, nil
}
