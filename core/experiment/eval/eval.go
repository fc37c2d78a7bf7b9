// Package eval measures a pair of towers without training them.
//
// A dataset is embedded once (Features), and then any number of measures are taken of that: zero-shot classification
// with prompt ensembles and retrieval in both directions (Radford et al. 2021, §3.1), and others, each a Measure in a
// file of its own. Evaluations of one Plan that read the same samples share their features.
//
// It works on the interfaces of core/clip; it knows no SQL and no processes.
package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/results/metric"
)

// Measure takes figures of features. An implementation holds its settings and nothing else: it is used for live and
// for averaged weights, and again at the next checkpoint.
type Measure interface {
	// Needs says what is to be read of the dataset beside pictures, captions and labels.
	Needs() Needs
	// Check reports what the measure lacks before anything is embedded: of the samples that it measures, and of those
	// that it learns from, nil when the evaluation has none. A fault has its path within the evaluation's entry in a
	// spec: zero_shot.classes.
	Check(test clip.DatasetInfo, train *clip.DatasetInfo) error
	// Measure takes the figures.
	Measure(ctx context.Context, f *Features) (Findings, error)
}

// Needs says what a measure needs of the dataset.
type Needs struct {
	Negatives bool // Features.Negatives: the dataset is asked for texts that do not describe its pictures
	Train     bool // Features.Train: the training data is embedded
}

// Findings holds what a measure found.
type Findings struct {
	Values   []metric.Value // named without the evaluation: top1, probe_top1
	Outcomes []Outcomes
	Notes    []Note
	// Alike lists the classes whose features equal those of an earlier class, so that no picture is ever theirs.
	Alike []Twins
	Facts map[string]any // what else is worth keeping of the newest evaluation: text, numbers, lists of them
}

// Outcomes holds what became of every sample, in the dataset's order.
type Outcomes struct {
	Of          string // the measure, when it is not the evaluation's classification by prompts: probe
	Target      string // the labelling whose classes are predicted
	Predictions []clip.Prediction
}

// Note is something to tell of a measure.
type Note struct {
	Level, Kind string // warning or info; the kind of the event
	Text        string // goes after the evaluation's name
}

// Twins names two classes by id.
type Twins struct{ First, Second int }

// Config configures one evaluation.
type Config struct {
	Name      string // metrics are eval/<Name>/…
	BatchSize int    // samples forwarded at a time, ≥ 1
	Measures  []Measure
	// MaxBadShare limits the share of samples that cannot be read, 0 … 1; with more there is no result.
	MaxBadShare float64
	Keep        bool // Result.Embedded
	Plain       bool // no figures of what was left out and cut, as averaged weights have none
	// Average measures by averaged weights too: those of the image tower, of the text tower or of both. The other tower's are
	// the live ones.
	Average struct{ Image, Text bool }
}

// Source is a configured dataset.
type Source struct {
	Data clip.Dataset
	Info clip.DatasetInfo
	// Key tells what the samples are: two sources with the same key have the same. "" is like no other.
	Key        string
	MaxSamples int // the first so many samples only; 0: all
}

// Parts holds the plugins of an evaluation, configured.
type Parts struct {
	Source              // of the samples that are measured
	Train       *Source // of those that measures learn from; nil: none
	Image, Text clip.Encoder
	// LogitScale returns what the model's loss multiplies cosines by; 1 where it has no such scale. nil: nobody knows.
	LogitScale func(context.Context) (float64, error)
}

// Figures holds what was measured by one set of weights.
type Figures struct {
	Metrics  []clip.Metric
	Outcomes []Outcomes
}

// Result holds what an evaluation found.
type Result struct {
	Figures                       // by the live weights
	Averaged   *Figures           // by averaged weights, named metric.Averaged(Name); nil unless Config.Average asks for them
	Samples    clip.Tally         // Bad ones are left out of every figure
	Unreadable []clip.SampleFault // the first few of them
	Reasons    []clip.Skip        // why they cannot be read, all of them counted
	Texts      Texts
	Alike      []Twins // see Findings
	Notes      []Note
	Facts      map[string]any // see Findings
	Embedded   *Embedded      // nil unless Config.Keep asks for it
}

// Embedded holds what the live weights made of an evaluation's samples and texts.
type Embedded struct {
	*Samples
	Images       *Matrix  // [N, D]
	Texts        []string // prompts and captions, each once, in the order in which they were embedded
	TextFeatures *Matrix  // [len(Texts), D]
	// Ranks holds, of retrieval by direction, the place of the first positive of each query that has one, from 1.
	Ranks map[string][]int
}

// Run evaluates once, alone (see Plan.Run).
func Run(ctx context.Context, cfg Config, p Parts, progress func(done, total int)) (Result, error) {
	return NewPlan([]Job{{cfg, p}}).Run(ctx, 0, progress)
}

func (f *Figures) add(evaluation string, values []metric.Value) {
	for _, v := range values {
		f.Metrics = append(f.Metrics, clip.Metric{Name: metric.Evaluated(evaluation, v.Name), Value: v.Value})
	}
}
