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
	Clip               float64 `with:"clip" min:"0" max:"1e4" help:"weight of the contrastive loss of the pairs; 0 leaves it out, for a sum with a loss that has it"`
	Relations          float64 `with:"relations" min:"0" max:"1e4" help:"weight of the divergence of the teacher's similarities of a batch from the model's"`
	TeacherTemperature float64 `with:"teacher_temperature" min:"1e-4" max:"1e4" help:"temperature of the teacher's similarities: that which it was trained to"`
	Features           float64 `with:"features" min:"0" max:"1e6" help:"weight of the mean squared difference of the teacher's embeddings and the model's, of equal width; CLIP-KD has 2000"`
	Interactive        float64 `with:"interactive" min:"0" max:"1e4" help:"weight of the contrastive loss of the model's embeddings with the teacher's of the other modality, of equal width"`
}

// Defaults holds the published settings of CLIP-KD's relations, beside CLIP's.
var Defaults = Config{Temperature: loss.PublishedTemperature, Clip: 1, Relations: 1, TeacherTemperature: .01}

// inputs names what the loss takes beside the pairs.
var inputs = []string{clip.InputTeacherImage, clip.InputTeacherText}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "distill", Version: "1.0.0", Summary: "contrastive loss with what a teacher says of the same pairs (CLIP-KD)",
	Config: Defaults, Inputs: inputs, Capabilities: []string{clip.CapBuckets},
	New: func() clip.Loss { return loss.New(define) },
}

// The parts beside those of the contrastive loss.
const (
	relations   = "relations"
	features    = "features"
	interactive = "interactive"
)

// define makes the losses by which a model learns from a teacher (Yang et al. 2024, arXiv 2307.12732, §3.2):
//
//	value = λ·CLIP(v, t) + λ_R·½·mean_i (KL(p_i ‖ q_i) + KL(p'_i ‖ q'_i))
//	        + λ_F·mean_i mean_d ((v − v̂)² + (t − t̂)²) + λ_I·½·mean_i (CE(s·v_i t̂ᵀ, i) + CE(s·t_i v̂ᵀ, i))
//	q = softmax(s·v tᵀ), p = softmax(v̂ t̂ᵀ/τ̂)      rows [B, B]; q', p' of the transposed
//
// for v, t [B, D], the teacher's v̂, t̂ [B, Dt] and s = exp(logit_scale), in nats: the contrastive relations, the features
// and the interactive contrast of the paper. The teacher has no gradient.
func define(c clip.LossConfig) (loss.Definition, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return loss.Definition{}, err
	}
	if err := cfg.check(c); err != nil {
		return loss.Definition{}, err
	}
	return loss.Definition{
		Inputs:  inputs,
		Scalars: []loss.Scalar{cfg.Scalar()},
		Learn:   cfg.Learnable,
		Build:   cfg.build,
		Report:  loss.ReportTemperature,
	}, cfg.Temperature.Check(Defaults.InitTemperature)
}

// check finds weights that do not go together with the widths of embeddings, or with each other.
func (cfg Config) check(c clip.LossConfig) error {
	image, text := c.TeacherImageDim, c.TeacherTextDim
	if image == 0 || text == 0 {
		return nil // there is no teacher, which the loss says of its inputs
	}
	refused := func(option, format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithPath("with." + option).WithHint("set it to 0, or choose another teacher")
	}
	switch equal := image == c.EmbedDim && text == c.EmbedDim; {
	case cfg.Clip == 0 && cfg.Relations == 0 && cfg.Features == 0 && cfg.Interactive == 0:
		return fault.New(fault.Invalid, "all weights are 0").WithPath("with.relations").WithHint("leave one of clip, relations, features and interactive above 0")
	case cfg.Relations > 0 && image != text:
		return refused("relations", "the teacher's embeddings of pictures have width %d, those of texts %d: they have no similarities", image, text)
	case cfg.Features > 0 && !equal:
		return refused("features", "the teacher's embeddings have width %d, the model's %d", image, c.EmbedDim)
	case cfg.Interactive > 0 && !equal:
		return refused("interactive", "the teacher's embeddings have width %d, the model's %d", image, c.EmbedDim)
	}
	return nil
}

func (cfg Config) build(b loss.Batch) (parts []loss.Part) {
	teacherImage, teacherText := b.Input(clip.InputTeacherImage), b.Input(clip.InputTeacherText)
	if cfg.Clip > 0 {
		parts = b.Contrast(loss.Contrast{Weight: cfg.Clip})
	}
	mean := func(x, y *graph.Node) *graph.Node { return graph.Scale(graph.Add(x, y), .5, 0) }
	if cfg.Relations > 0 {
		// apart gives KL(p_i ‖ q_i), the cross-entropy of the model with the teacher's shares less their entropy.
		apart := func(own, others, teacherOwn, teacherOthers *graph.Node) *graph.Node {
			return b.Each(own, func(rows, partners *graph.Node) *graph.Node {
				teacher := graph.MatMul(graph.Gather(teacherOwn, partners), teacherOthers, false, true)
				teacher = graph.Scale(teacher, 1/cfg.TeacherTemperature, 0)
				shares := b.Softmax(teacher)
				return graph.Sub(b.RowsCrossEntropy(b.Logits(rows, others), partners, shares), b.RowsCrossEntropy(teacher, partners, shares))
			})
		}
		parts = append(parts, loss.Part{Name: relations, Weight: cfg.Relations,
			Losses: mean(apart(b.Image, b.Text, teacherImage, teacherText), apart(b.Text, b.Image, teacherText, teacherImage))})
	}
	if cfg.Features > 0 {
		squares := func(x, y *graph.Node) *graph.Node {
			d := graph.Sub(x, y)
			return graph.SumCols(graph.Mul(d, d))
		}
		sum := graph.Add(squares(b.Image, teacherImage), squares(b.Text, teacherText))
		parts = append(parts, loss.Part{Name: features, Weight: cfg.Features, Losses: graph.Scale(sum, 1/float64(b.Image.Dim(1)), 0)})
	}
	if cfg.Interactive > 0 {
		contrast := func(own, others *graph.Node) *graph.Node {
			return b.Each(own, func(rows, partners *graph.Node) *graph.Node {
				return graph.CrossEntropy(b.Logits(rows, others), partners, 0)
			})
		}
		parts = append(parts, loss.Part{Name: interactive, Weight: cfg.Interactive,
			Losses: mean(contrast(b.Image, teacherText), contrast(b.Text, teacherImage))})
	}
	return parts
}
