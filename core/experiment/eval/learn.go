package eval

import (
	"context"
	"fmt"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/probe"
	"tandem/core/fault"
	"tandem/core/results/metric"
)

// LinearProbe trains a multinomial logistic regression on the features of the training samples and classifies the others
// with it (Radford et al. 2021, §3.2 and §A.3). The strength of its penalty is chosen by training samples that are held out, and
// the probe then fitted to all. Features are embeddings of length 1, as CLIP_benchmark takes them.
type LinearProbe struct {
	Target  string
	HeldOut float64 // the share of the training samples that the strength is chosen by, of each class
	Seed    uint64  // draws them
}

// Needs implements Measure.
func (LinearProbe) Needs() Needs { return Needs{Train: true} }

// Check implements Measure.
func (m LinearProbe) Check(test clip.DatasetInfo, train *clip.DatasetInfo) error {
	return checkLearning(metric.LinearProbe, m.Target, test, train)
}

// Measure implements Measure.
func (m LinearProbe) Measure(ctx context.Context, f *Features) (Findings, error) {
	train, notes, err := examples(f.Train, m.Target, metric.LinearProbe)
	if err != nil {
		return Findings{}, err
	}
	rest, held := train.Split(m.HeldOut, m.Seed)
	if len(held) == 0 {
		return Findings{}, fault.New(fault.Invalid, "no class has two training samples: none can be held out to choose the penalty by").
			WithPath(metric.LinearProbe + ".classes").WithHint("more training samples, or few_shot")
	}
	stop := probe.DefaultStop
	stop.Done = ctx.Done()
	found := probe.Sweep(train, rest, held, stop)
	if err := ctx.Err(); err != nil {
		return Findings{}, err
	}
	out := f.outcomes(metric.LinearProbe, m.Target, train.Classes, f.scores(found.Linear, train.Classes))
	out.Values = append(out.Values, metric.Value{Name: metric.Of(metric.LinearProbe, metric.Strength), Value: found.C})
	out.Notes = append(out.Notes, notes...)
	if found.AtBorder {
		out.Notes = append(out.Notes, Note{"info", "probe_border", fmt.Sprintf("the linear probe's best penalty, C = %g, is at the border of those tried", found.C)})
	}
	return out, nil
}

// Nearest classifies by the training samples with the nearest features.
type Nearest struct {
	Target string
	probe.Nearest
}

// Needs implements Measure.
func (Nearest) Needs() Needs { return Needs{Train: true} }

// Check implements Measure.
func (m Nearest) Check(test clip.DatasetInfo, train *clip.DatasetInfo) error {
	return checkLearning(metric.Nearest, m.Target, test, train)
}

// Measure implements Measure.
func (m Nearest) Measure(_ context.Context, f *Features) (Findings, error) {
	train, notes, err := examples(f.Train, m.Target, metric.Nearest)
	if err != nil {
		return Findings{}, err
	}
	out := f.outcomes(metric.Nearest, m.Target, train.Classes, func(each func(i int, scores []float32)) {
		m.Scores(train, f.Images.Data, each)
	})
	out.Notes = notes
	if m.K > train.Len() {
		out.Notes = append(out.Notes, Note{"info", "knn_k", fmt.Sprintf("k is %d, and there are %d training samples: knn lets all of them vote", m.K, train.Len())})
	}
	return out, nil
}

// FewShot learns from a few training samples of each class, several times from others, and tells the mean accuracy and its
// standard deviation over the draws.
type FewShot struct {
	Target string
	Shots  []int // samples of each class
	Draws  int   // at least 1
	// C is the penalty of the linear probe (probe.Fit); 0: the class whose mean is nearest (probe.Prototypes).
	C    float64
	Seed uint64
}

// Needs implements Measure.
func (FewShot) Needs() Needs { return Needs{Train: true} }

// Check implements Measure.
func (m FewShot) Check(test clip.DatasetInfo, train *clip.DatasetInfo) error {
	return checkLearning(metric.FewShot, m.Target, test, train)
}

// Measure implements Measure.
func (m FewShot) Measure(ctx context.Context, f *Features) (Findings, error) {
	train, _, err := examples(f.Train, m.Target, metric.FewShot)
	if err != nil {
		return Findings{}, err
	}
	var out Findings
	for _, n := range m.Shots {
		var found []float64
		most := 0
		for draw := range m.Draws {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			places, short := train.Draw(n, draw, m.Seed)
			most = max(most, short)
			few := train.At(places)
			classifier := probe.Prototypes(few)
			if m.C > 0 {
				classifier = probe.Fit(few, m.C, nil, probe.DefaultStop).Linear
			}
			found = append(found, top1(f.Labels[m.Target], f.scores(classifier, train.Classes)))
		}
		mean, std := spread(found)
		out.Values = append(out.Values, metric.Value{Name: metric.Shots(n), Value: mean})
		if m.Draws > 1 {
			out.Values = append(out.Values, metric.Value{Name: metric.Std(metric.Shots(n)), Value: std})
		}
		if most > 0 {
			out.Notes = append(out.Notes, Note{"info", fmt.Sprintf("few_shot_%d", n), fmt.Sprintf("%s have fewer than %d training samples; few_shot takes all of these",
				clip.CountOf(most, train.Classes, "classes"), n)})
		}
	}
	return out, nil
}

// scores returns a function that gives the scores of every sample by a classifier, in order.
func (f *Features) scores(by probe.Linear, classes int) func(each func(i int, scores []float32)) {
	return func(each func(i int, scores []float32)) {
		scores := make([]float32, classes)
		for i := range f.Images.Rows {
			by.Scores(f.Images.Row(i), scores)
			each(i, scores)
		}
	}
}

// top1 returns the share of the samples with a label whose class has the best of the scores that run gives.
func top1(labels []int32, run func(each func(i int, scores []float32))) float64 {
	right, all := 0, 0
	run(func(i int, scores []float32) {
		if labels[i] >= 0 {
			all++
			if metric.Rank(scores, int(labels[i])) == 1 {
				right++
			}
		}
	})
	return float64(right) / float64(max(all, 1))
}

// spread returns the mean and the standard deviation, of a sample.
func spread(values []float64) (mean, std float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		std += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(std / float64(max(len(values)-1, 1)))
}

// checkLearning reports what a measure that learns classes lacks.
func checkLearning(measure, target string, test clip.DatasetInfo, train *clip.DatasetInfo) error {
	path := measure + ".classes"
	wanted, err := findTarget(test, target, path)
	if err != nil {
		return err
	}
	if train == nil {
		return fault.New(fault.Invalid, "%s learns from samples, and the evaluation names none", measure).WithPath(measure).
			WithHint("train: {with: {split: train}} names them, or train: {dataset: …}")
	}
	got, err := findTarget(*train, target, path)
	if f, ok := err.(*fault.Error); ok {
		f.Msg = "of train: " + f.Msg
		return f
	}
	if !slices.Equal(got.Classes, wanted.Classes) {
		return fault.New(fault.Invalid, "the classes of %q are not the same in train: %d, and %d of the samples to measure", target, len(got.Classes), len(wanted.Classes)).
			WithPath(path).WithHint("both need the same classes in the same order")
	}
	return nil
}

// examples returns the training samples that have a label of a target, and tells of classes without any.
func examples(f *Features, target, measure string) (probe.Examples, []Note, error) {
	t, err := f.Target(target, measure+".classes")
	if err != nil {
		return probe.Examples{}, nil, err
	}
	labels := f.Labels[target]
	out := probe.Examples{Dim: f.Images.Cols, Classes: len(t.Classes)}
	seen := make([]bool, len(t.Classes))
	for i, label := range labels {
		if label >= 0 {
			out.X, out.Y = append(out.X, f.Images.Row(i)...), append(out.Y, label)
			seen[label] = true
		}
	}
	if out.Len() == 0 {
		return out, nil, fault.New(fault.Invalid, "none of the %d training samples has a label of %q", len(labels), target).WithPath(measure + ".classes")
	}
	missing := 0
	first := ""
	for class, has := range seen {
		if !has {
			if missing++; missing == 1 {
				first = t.Classes[class]
			}
		}
	}
	if missing == 0 {
		return out, nil, nil
	}
	return out, []Note{{"warning", measure + "_classes", fmt.Sprintf("%s have no training sample, and no picture is ever theirs by %s; the first: %q",
		clip.CountOf(missing, len(t.Classes), "classes"), measure, first)}}, nil
}

// outcomes classifies every sample by scores, which run gives of each in order.
func (f *Features) outcomes(measure, target string, classes int, run func(each func(i int, scores []float32))) Findings {
	acc := metric.NewClassification(classes)
	labels := f.Labels[target]
	predictions := make([]clip.Prediction, f.Images.Rows)
	run(func(i int, scores []float32) {
		predictions[i] = Predict(f.Keys[i], labels[i], scores)
		if labels[i] >= 0 {
			acc.Add(scores, int(labels[i]))
		}
	})
	out := Findings{Outcomes: []Outcomes{{Of: measure, Target: target, Predictions: predictions}}}
	for _, v := range acc.Metrics() {
		out.Values = append(out.Values, metric.Value{Name: metric.Of(measure, v.Name), Value: v.Value})
	}
	return out
}
