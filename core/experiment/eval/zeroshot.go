package eval

import (
	"context"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// ZeroShot classifies by text prompts (Radford et al. 2021, §3.1.4): a picture is of the class whose prompts are nearest.
type ZeroShot struct {
	Target    string   // the labelling of the dataset: clip.Target.Name
	Templates []string // prompts with one {} for the class name; at least one
}

// Needs implements Measure.
func (ZeroShot) Needs() Needs { return Needs{} }

// Check implements Measure.
func (z ZeroShot) Check(info clip.DatasetInfo, _ *clip.DatasetInfo) error {
	_, err := findTarget(info, z.Target, "zero_shot.classes")
	return err
}

// Measure implements Measure.
func (z ZeroShot) Measure(ctx context.Context, f *Features) (Findings, error) {
	target, err := f.Target(z.Target, "zero_shot.classes")
	if err != nil {
		return Findings{}, err
	}
	classes, err := f.EmbedClasses(ctx, target.Classes, z.Templates)
	if err != nil {
		return Findings{}, err
	}
	predictions, values := f.Classify(f.Images, classes, f.Labels[z.Target])
	return Findings{Values: values, Outcomes: []Outcomes{{Target: z.Target, Predictions: predictions}}, Alike: classes.equalRows()}, nil
}

// Classify keeps the five best classes of every sample and counts the right ones. Samples without a label (-1) are left
// out of the figures. images is [N, D], classes [C, D]; labels has N.
func (f *Features) Classify(images, classes *Matrix, labels []int32) ([]clip.Prediction, []metric.Value) {
	out := make([]clip.Prediction, images.Rows)
	acc := metric.NewClassification(classes.Rows)
	Similarities(images, classes, func(i int, scores []float32) {
		out[i] = Predict(f.Keys[i], labels[i], scores)
		if labels[i] >= 0 {
			acc.Add(scores, int(labels[i]))
		}
	})
	return out, acc.Metrics()
}

// Predict returns the outcome of a sample by the scores of its classes.
func Predict(key string, label int32, scores []float32) clip.Prediction {
	top := metric.TopK(scores, 5)
	p := clip.Prediction{Key: key, Label: label, Score: scores[top[0]]}
	for _, c := range top {
		p.Top = append(p.Top, int32(c))
	}
	return p
}

// findTarget returns a labelling of a dataset; fault.Invalid, with the path given, when it has no such.
func findTarget(info clip.DatasetInfo, name, path string) (clip.Target, error) {
	names := make([]string, len(info.Targets))
	for i, t := range info.Targets {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return clip.Target{}, fault.New(fault.Invalid, "the dataset has no target %q", name).WithPath(path).
		WithHint("its targets are: %s", strings.Join(names, ", "))
}
