package eval

import (
	"context"
	"fmt"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/random"
	"tandem/core/results/metric"
)

// Calibration measures how far the probabilities of the classification by prompts can be believed: the softmax over the classes
// of the model's own logit scale times the cosines (metric.Calibration). It then fits a temperature (Guo et al. 2017, §4.2) to one half
// of the samples and measures the other half by it, and the other way round, so that figures before and after are of the
// same samples and none was fitted to.
type Calibration struct {
	ZeroShot
	Seed uint64 // deals the samples into halves, by their keys
}

// Check implements Measure.
func (m Calibration) Check(info clip.DatasetInfo, _ *clip.DatasetInfo) error {
	_, err := findTarget(info, m.Target, "zero_shot.classes")
	return err
}

// Measure implements Measure.
func (m Calibration) Measure(ctx context.Context, f *Features) (Findings, error) {
	target, err := f.Target(m.Target, "zero_shot.classes")
	if err != nil {
		return Findings{}, err
	}
	classes, err := f.EmbedClasses(ctx, target.Classes, m.Templates)
	if err != nil {
		return Findings{}, err
	}
	if f.job.LogitScale == nil {
		return Findings{}, fault.New(fault.Invalid, "calibration needs the model's logit scale, and it has none").WithPath("calibration")
	}
	scale, err := f.job.LogitScale(ctx)
	if err != nil {
		return Findings{}, err
	}
	type half struct {
		logits [][]float32
		labels []int
	}
	var halves [2]half
	labels := f.Labels[m.Target]
	before, after := &metric.Calibration{}, &metric.Calibration{}
	Similarities(f.Images, classes, func(i int, row []float32) {
		if labels[i] < 0 {
			return
		}
		logits := make([]float32, len(row))
		for j, v := range row {
			logits[j] = float32(scale) * v
		}
		before.Add(logits, 1, int(labels[i]))
		h := &halves[random.New(m.Seed, "calibration "+f.Keys[i]).Uint64()>>63]
		h.logits, h.labels = append(h.logits, logits), append(h.labels, int(labels[i]))
	})
	var out Findings
	add := func(prefix func(string) string, c *metric.Calibration) {
		for _, v := range c.Metrics() {
			out.Values = append(out.Values, metric.Value{Name: metric.Of(metric.Calibrated, prefix(v.Name)), Value: v.Value})
		}
	}
	add(func(name string) string { return name }, before)
	out.Facts = map[string]any{"reliability": sayBins(before.Reliability())}
	if len(halves[0].labels) == 0 || len(halves[1].labels) == 0 {
		out.Notes = []Note{{"info", "calibration", fmt.Sprintf("%d samples are too few to fit a temperature to one half of them", before.N())}}
		return out, nil
	}
	temperature := 0.0
	for i, h := range halves {
		t := metric.Temperature(len(h.labels), func(i int) ([]float32, int) { return h.logits[i], h.labels[i] })
		temperature += t / 2
		other := halves[1-i]
		for j, logits := range other.logits {
			after.Add(logits, t, other.labels[j])
		}
	}
	add(metric.Fitted, after)
	out.Values = append(out.Values, metric.Value{Name: metric.Of(metric.Calibrated, metric.Temperatures), Value: temperature})
	return out, nil
}

// sayBins writes bins of predictions by their number: from – to, how many, their confidence, their accuracy.
func sayBins(bins []metric.Bin) map[string]any {
	all := map[string]any{}
	for i, b := range bins {
		text := fmt.Sprintf("%.3f-%.3f n=%d", b.Low, b.High, b.N)
		if b.N > 0 {
			text += fmt.Sprintf(" confidence=%.4f accuracy=%.4f", b.Confidence, b.Accuracy)
		}
		all[fmt.Sprintf("%02d", i+1)] = text
	}
	return all
}
