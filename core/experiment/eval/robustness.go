package eval

import (
	"context"

	"tandem/core/media/vision/corrupt"
	"tandem/core/results/metric"
)

// Robustness classifies by prompts pictures that are spoilt by degrees (Hendrycks and Dietterich 2019; package corrupt says in
// which ways and by how much). It tells the accuracy of each kind and severity, the means, and which share of the accuracy
// on clean pictures is lost.
type Robustness struct {
	ZeroShot
	Kinds      []string // see corrupt.Kinds
	Severities []int    // 1 … corrupt.Severities
	Seed       uint64
}

// Measure implements Measure.
func (m Robustness) Measure(ctx context.Context, f *Features) (Findings, error) {
	target, err := f.Target(m.Target, "zero_shot.classes")
	if err != nil {
		return Findings{}, err
	}
	classes, err := f.EmbedClasses(ctx, target.Classes, m.Templates)
	if err != nil {
		return Findings{}, err
	}
	labels := f.Labels[m.Target]
	top1 := func(images *Matrix) float64 {
		right, all := 0, 0
		Similarities(images, classes, func(i int, scores []float32) {
			if labels[i] >= 0 {
				all++
				if metric.Rank(scores, int(labels[i])) == 1 {
					right++
				}
			}
		})
		return float64(right) / float64(max(all, 1))
	}
	var values []metric.Value
	mean := 0.0
	for _, kind := range m.Kinds {
		of := 0.0
		var each []metric.Value
		for _, severity := range m.Severities {
			images, err := f.Changed(ctx, func(i int, pixels []byte, side int) {
				corrupt.Apply(kind, severity, pixels, side, m.Seed, f.Keys[i])
			})
			if err != nil {
				return Findings{}, err
			}
			got := top1(images)
			of += got / float64(len(m.Severities))
			each = append(each, metric.Value{Name: metric.Corrupted(kind, severity), Value: got})
		}
		values = append(append(values, metric.Value{Name: metric.Corrupted(kind, 0), Value: of}), each...)
		mean += of / float64(len(m.Kinds))
	}
	out := []metric.Value{{Name: metric.Of(metric.Robustness, metric.Top1), Value: mean}}
	if clean := top1(f.Images); clean > 0 {
		out = append(out, metric.Value{Name: metric.Of(metric.Robustness, metric.Drop), Value: 1 - mean/clean})
	}
	return Findings{Values: append(out, values...)}, nil
}
