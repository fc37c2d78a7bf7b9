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
	accuracy := func(images *Matrix) float64 {
		return top1(f.Labels[m.Target], func(each func(i int, scores []float32)) { Similarities(images, classes, each) })
	}
	var values []metric.Value
	mean := 0.0
	for _, kind := range m.Kinds {
		of := 0.0
		var each []metric.Value
		for _, severity := range m.Severities {
			images, err := f.Changed(ctx, Spoilt{kind, severity, m.Seed})
			if err != nil {
				return Findings{}, err
			}
			got := accuracy(images)
			of += got / float64(len(m.Severities))
			each = append(each, metric.Value{Name: metric.Corrupted(kind, severity), Value: got})
		}
		values = append(append(values, metric.Value{Name: metric.Corrupted(kind, 0), Value: of}), each...)
		mean += of / float64(len(m.Kinds))
	}
	out := []metric.Value{{Name: metric.Of(metric.Robustness, metric.Top1), Value: mean}}
	if clean := accuracy(f.Images); clean > 0 {
		out = append(out, metric.Value{Name: metric.Of(metric.Robustness, metric.Drop), Value: 1 - mean/clean})
	}
	return Findings{Values: append(out, values...)}, nil
}

// Spoilt is the Change of package corrupt.
type Spoilt struct {
	Kind     string // see corrupt.Kinds
	Severity int
	Seed     uint64
}

// Apply implements Change.
func (s Spoilt) Apply(_ int, key string, pixels []byte, side int) {
	corrupt.Apply(s.Kind, s.Severity, pixels, side, s.Seed, key)
}
