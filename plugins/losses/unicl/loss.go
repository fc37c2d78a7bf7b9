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
var inputs = []string{clip.InputGroups}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "unicl", Version: "1.0.0", Summary: "contrastive loss in which all samples of a group are positives of each other (UniCL)",
	Config: Defaults, Inputs: inputs, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// define makes the contrastive loss of a batch of pairs in groups: those of equal captions, or of one class (Yang et al.
// 2022, arXiv 2204.03610, §3.2):
//
//	S       = exp(logit_scale)·v tᵀ                            [B, B] for v, t [B, D]
//	P(i)    = the samples of i's group, i among them
//	L(S, i) = −1/|P(i)|·Σ_{k∈P(i)} log softmax(S[i, :])_k
//	value   = ½·mean_i L(S, i) + ½·mean_j L(Sᵀ, j)
//
// in nats; the paper adds up both directions. Without groups it is CLIP's loss. Which samples are of one group takes
// memory of B², in blocks too.
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
			targets := b.GroupTargets()
			return b.Contrast(loss.Contrast{Losses: func(logits, partners *graph.Node) *graph.Node {
				return b.RowsCrossEntropy(logits, partners, graph.Gather(targets, partners))
			}})
		},
		Report: loss.ReportTemperature,
	}, cfg.Check(Defaults.InitTemperature)
}
