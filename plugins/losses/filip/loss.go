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
	Clip float64 `with:"clip" min:"0" max:"1e4" help:"weight of the contrastive loss of the embeddings, which zero-shot classes and retrieval compare; 0, as in the paper, trains them only through what they share with the tokens"`
}

// Defaults holds CLIP's settings, and trains the embeddings beside the tokens.
var Defaults = Config{loss.PublishedTemperature, 1}

// inputs names what the loss takes beside the pairs.
var inputs = []string{clip.InputImageTokens, clip.InputTextTokens}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "filip", Version: "1.0.0", Summary: "contrastive loss whose similarities are those of patches and words (FILIP)",
	Config: Defaults, Inputs: inputs, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// The parts of the tokens, as they are called in results.
const (
	imageTokens = "image_tokens" // each image finds its text by its patches
	textTokens  = "text_tokens"  // each text finds its image by its tokens
)

// define makes the contrastive loss of a batch of pairs whose tokens find each other (Yao et al. 2022, arXiv 2111.07783,
// §3.1): the similarity of a picture and a text is the mean, over the tokens of one, of the cosine with the most similar
// token of the other.
//
//	S[i, j] = exp(logit_scale)·mean_k max_l x_ik·y_jl          of pictures x [B, n, D] with texts y [B, m, D]
//	T[i, j] = exp(logit_scale)·mean_l max_k y_il·x_jk          of texts with pictures
//	value   = ½·mean_i CE(S[i, :], i) + ½·mean_i CE(T[i, :], i) + λ·CLIP(v, t)
//
// for embeddings v, t [B, D], in nats. The last term is not in the paper, which compares tokens when it evaluates too.
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
			parts := []loss.Part{
				{Name: imageTokens, Weight: .5, Losses: losses(b, clip.InputImageTokens, clip.InputTextTokens)},
				{Name: textTokens, Weight: .5, Losses: losses(b, clip.InputTextTokens, clip.InputImageTokens)},
			}
			if cfg.Clip > 0 {
				parts = append(parts, b.Contrast(loss.Contrast{Weight: cfg.Clip})...)
			}
			return parts
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}

// losses gives those of the samples of one side, [B], which find theirs among all of the other side.
func losses(b loss.Batch, own, others string) *graph.Node {
	x, y := b.Input(own), b.Input(others)
	n, m, d := x.Dim(1), y.Dim(1), x.Dim(2)
	all := graph.Reshape(y, b.Size*m, d)
	absent := graph.Scale(graph.Reshape(b.Mask(others), b.Size*m), 3, -3) // −3 where there is no token: below all cosines
	shares := b.TokenShares(own)
	return b.Wide(n*m).Each(graph.Reshape(x, b.Size, n*d), func(rows, partners *graph.Node) *graph.Node {
		r := rows.Dim(0)
		cosines := graph.Add(graph.MatMul(graph.Reshape(rows, r*n, d), all, false, true), absent) // [r·n, B·m]
		most := graph.MaxCols(graph.Reshape(cosines, r*n, b.Size, m))                             // [r·n, B]
		share := graph.Reshape(graph.Gather(shares, partners), r, 1, n)
		mean := graph.Reshape(graph.MatMul(share, graph.Reshape(most, r, n, b.Size), false, false), r, b.Size)
		return graph.CrossEntropy(graph.ScaleByExp(mean, b.Scalars[loss.LogitScale]), partners, 0)
	})
}
