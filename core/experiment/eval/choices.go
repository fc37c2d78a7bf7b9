package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// Choices lets the model choose between a picture's caption and texts that do not describe it (Batch.Negatives): captions with
// something exchanged, as in ARO (Yuksekgonul et al. 2023) and SugarCrepe (Hsieh et al. 2023). A choice is right when the
// cosine with the caption is greater than with every negative; ties are wrong, so that a model that ignores the exchange
// finds nothing.
type Choices struct{}

// Needs implements Measure.
func (Choices) Needs() Needs { return Needs{Negatives: true} }

// Check implements Measure.
func (Choices) Check(info clip.DatasetInfo, _ *clip.DatasetInfo) error {
	if info.Negatives == 0 {
		return fault.New(fault.Invalid, "choices needs texts that do not describe the pictures, and the dataset gives none").WithPath("choices").
			WithHint("some datasets have a setting for it: synthetic's negatives: 3")
	}
	return nil
}

// Measure implements Measure.
func (Choices) Measure(ctx context.Context, f *Features) (Findings, error) {
	place := map[string]int{}
	var texts []string
	number := func(text string) int {
		at, known := place[text]
		if !known {
			at = len(texts)
			place[text] = at
			texts = append(texts, text)
		}
		return at
	}
	options := make([][]int, 0, len(f.Keys)) // of each sample with a caption: first the caption
	of := make([]int, 0, len(f.Keys))
	for i, captions := range f.Captions {
		if len(captions) == 0 || len(f.Negatives[i]) == 0 {
			continue
		}
		mine := []int{number(captions[0])}
		for _, text := range f.Negatives[i] {
			mine = append(mine, number(text))
		}
		options, of = append(options, mine), append(of, i)
	}
	if len(of) == 0 {
		return Findings{}, fault.New(fault.Invalid, "choices needs captions, and the dataset gave none").WithPath("choices")
	}
	all, err := f.EmbedTexts(ctx, texts)
	if err != nil {
		return Findings{}, err
	}
	right, pairs, won, chance := 0, 0, 0, 0.0
	for k, mine := range options {
		picture := f.Images.Row(of[k])
		own := cosine(picture, all.Row(mine[0]))
		lost := 0
		for _, other := range mine[1:] {
			if pairs++; !(own > cosine(picture, all.Row(other))) {
				lost++
			}
		}
		won += len(mine) - 1 - lost
		if lost == 0 {
			right++
		}
		chance += 1 / float64(len(mine))
	}
	n := float64(len(of))
	name := func(figure string) string { return metric.Of(metric.Choices, figure) }
	return Findings{Values: []metric.Value{{Name: name(metric.Accuracy), Value: float64(right) / n}, {Name: name(metric.Chance), Value: chance / n},
		{Name: name(metric.PairAccuracy), Value: float64(won) / float64(pairs)}}}, nil
}

// cosine returns the dot product of two unit vectors.
func cosine(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
