// Package main serves myplugin, a loss: each picture finds its caption among those of the batch, and each caption its picture.
package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

func main() { sdk.ServeLoss(Plugin) }

// Config holds the options of a spec's with block.
type Config struct {
	Temperature float64 `with:"temperature" min:"0.01" max:"1" help:"divides the cosines, at the start; it is learned"`
	TextWeight  float64 `with:"text_weight" min:"0" max:"1" help:"share of the captions' part in the value"`
}

var defaults = Config{Temperature: 0.07, TextWeight: 0.5}

// Plugin describes the loss to the runner.
var Plugin = sdk.Loss{
	Name: "myplugin", Version: "0.1.0", Summary: "contrastive loss with a weight for each direction",
	Config: defaults, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// define declares the learned scalars and the graph of the loss. The engine differentiates it.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Scalars: []loss.Scalar{{Name: loss.LogitScale, Init: math.Log(1 / cfg.Temperature), Min: 0, Max: math.Log(100)}},
		Learn:   true,
		Build: func(b loss.Batch) []loss.Part { // b.Image and b.Text are [B, D] with rows of norm 1
			logits := graph.ScaleByExp(graph.MatMul(b.Image, b.Text, false, true), b.Scalars[loss.LogitScale]) // [B, B]
			pairs := b.Partners(0, b.Size)
			return []loss.Part{ // Losses has one value a sample; the value is the weighted sum of their means
				{Name: "image_to_text", Weight: 1 - cfg.TextWeight, Losses: graph.CrossEntropy(logits, pairs, 0)},
				{Name: "text_to_image", Weight: cfg.TextWeight, Losses: graph.CrossEntropy(graph.Transpose(logits), pairs, 0)},
			}
		},
		Report: loss.ReportTemperature,
	}, nil
}
