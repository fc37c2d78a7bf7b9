package infer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/eval"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/media/vision"
	"tandem/core/tensor"
)

// Guess rates one class of a picture.
type Guess struct {
	Label       string  `json:"label"`
	Probability float64 `json:"probability"` // see assemble.Logits
	Cosine      float64 `json:"cosine"`
}

// Classified holds a picture and its classes, the likeliest first.
type Classified struct {
	Image   string  `json:"image"`
	Guesses []Guess `json:"guesses"`
}

// Classify guesses which of the labels each picture file shows, with the newest checkpoint of the run
// that ref names. Each template has one {} for the label; without any, those of the spec's first
// zero-shot evaluation are used. With averaged, the run's averaged weights are (train.ema). w is told of labels that are equal and of prompts that are cut. A file that is no
// picture is fault.Invalid, one that is not there fault.NotFound.
func Classify(ctx context.Context, l lab.Lab, ref string, files, labels, templates []string, averaged bool, w assemble.Watcher) ([]Classified, error) {
	pictures := make([]vision.Picture, len(files))
	for i, file := range files {
		var err error
		if pictures[i], err = readPicture(file); err != nil {
			return nil, err
		}
	}
	m, logits, err := restore(ctx, l, ref, averaged)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if len(templates) == 0 {
		templates = specTemplates(m.Spec)
	}
	side := m.Summary.Image.ImageSize
	batch := tensor.New(tensor.U8, len(pictures), side, side, 3)
	var r vision.Resizer
	for i, p := range pictures {
		n := 3 * side * side
		r.Evaluate(batch.Data[i*n:(i+1)*n], p, side)
	}
	cosines, texts, err := eval.Cosines(ctx, m.Image, m.Text, batch, labels, templates)
	if err != nil {
		return nil, err
	}
	if equal := assemble.SameNames(labels); equal != "" {
		w.Event("warning", "labels: "+equal)
	}
	if texts.Cut > 0 {
		w.Event("warning", fmt.Sprintf("%s are longer than the context of %d tokens and are cut", clip.CountOf(texts.Cut, texts.N, "prompts"), texts.Context))
	}
	if texts.Blank > 0 {
		w.Event("warning", clip.CountOf(texts.Blank, texts.N, "prompts")+" say nothing to the text encoder: no token is left of them")
	}
	out := make([]Classified, len(files))
	for i, row := range cosines {
		out[i] = Classified{Image: files[i], Guesses: guesses(logits, row, labels)}
	}
	return out, nil
}

// specTemplates returns the templates of the first zero-shot evaluation of a spec, or a common one.
func specTemplates(s *spec.Spec) []string {
	for _, e := range s.Eval {
		if e.ZeroShot != nil {
			return e.ZeroShot.Templates
		}
	}
	return []string{"a photo of a {}."}
}

// guesses returns the labels with their probabilities, the likeliest first.
func guesses(l assemble.Logits, cosines []float32, labels []string) []Guess {
	out := make([]Guess, len(labels))
	best := math.Inf(-1)
	for _, c := range cosines {
		best = math.Max(best, float64(c))
	}
	sum := 0.0
	for j, c := range cosines {
		p := math.Exp(l.Scale * (float64(c) - best))
		if l.Bias != nil {
			p = 1 / (1 + math.Exp(-l.Scale*float64(c)-*l.Bias))
		}
		out[j] = Guess{Label: labels[j], Probability: p, Cosine: float64(c)}
		sum += p
	}
	if l.Bias == nil {
		for j := range out {
			out[j].Probability /= sum
		}
	}
	slices.SortStableFunc(out, func(a, b Guess) int {
		switch {
		case a.Cosine > b.Cosine:
			return -1
		case a.Cosine < b.Cosine:
			return 1
		}
		return 0
	})
	return out
}
