// The everything plugin is a loss that takes all that the protocol gives.
package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

func main() {
	sdk.ServeLoss(sdk.Loss{Name: "everything", Version: "1.0.0", Summary: "takes every input", Inputs: clip.LossInputs,
		New: func() clip.Loss { return loss.New(define) }})
}

func define(clip.LossConfig) (loss.Definition, error) {
	scale := loss.Scalar{Name: loss.LogitScale, Init: -math.Log(.07), Max: math.Log(100)}
	return loss.Definition{Inputs: clip.LossInputs, Scalars: []loss.Scalar{scale}, Learn: true, Build: build, Report: loss.ReportTemperature}, nil
}

func build(b loss.Batch) []loss.Part {
	compare := func(rows, all *graph.Node) *graph.Node { return graph.MatMul(rows, all, false, true) }
	find := func(rows, all *graph.Node) *graph.Node { // each row its group's
		return b.CrossEntropy(graph.ScaleByExp(compare(rows, all), b.Scalars[loss.LogitScale]), b.GroupTargets())
	}
	tokens := func(name string) *graph.Node { return graph.MeanTokens(b.Input(name), b.Lengths(name)) } // [B, D]
	diff := graph.Sub(compare(b.Image, b.Text), compare(b.Input(clip.InputTeacherImage), b.Input(clip.InputTeacherText)))
	return []loss.Part{
		{Name: "image_to_text", Weight: .5, Losses: find(b.Image, loss.Rows(b.Text, b.Input(clip.InputTextNegatives)))},
		{Name: "text_to_image", Weight: .5, Losses: find(b.Text, b.Image)},
		{Name: "views", Weight: .5, Losses: find(b.Image, b.Input(clip.InputImageView2))},
		{Name: "teacher", Weight: 1, Losses: graph.Scale(graph.SumCols(graph.Mul(diff, diff)), 1/float64(b.Size), 0)},
		{Name: "tokens", Weight: .1, Losses: find(tokens(clip.InputImageTokens), tokens(clip.InputTextTokens))},
	}
}
