package spec

import (
	"tandem/core/clip"
	"tandem/core/results/metric"
)

// LinearProbe configures a logistic regression on frozen features.
type LinearProbe struct {
	Classes string  `json:"classes"`
	HeldOut float64 `json:"held_out"` // share of the training samples, 0 < … < 1
}

// Nearest configures a classification by the nearest training samples.
type Nearest struct {
	Classes     string  `json:"classes"`
	K           int     `json:"k"`
	Temperature float64 `json:"temperature"` // 0: every vote counts the same
}

// FewShot configures learning from a few training samples of each class.
type FewShot struct {
	Classes    string  `json:"classes"`
	Shots      []int   `json:"shots"`
	Draws      int     `json:"draws"`
	Classifier string  `json:"classifier"` // Prototypes or LinearClassifier
	C          float64 `json:"c"`
}

// The classifiers of FewShot.
const (
	Prototypes       = "prototypes"
	LinearClassifier = "linear_probe"
)

// Robustness configures a classification of spoilt pictures.
type Robustness struct {
	Corruptions []string `json:"corruptions"`
	Severities  []int    `json:"severities"`
}

// Corruptions lists the ways of spoiling pictures.
var Corruptions = []string{"gaussian_noise", "impulse_noise", "gaussian_blur", "jpeg", "rotation", "brightness", "contrast"}

var (
	learnedClasses   = key("classes", clip.TypeString, nil, "the labelling to learn and predict, a target of both datasets").required()
	learningMeasures = []Key{
		section("linear_probe", "a logistic regression on frozen features of `train`, as CLIP's paper fits it; left out: none", learnedClasses,
			key("held_out", clip.TypeFloat, 0.2, "share of the training samples by which the strength of the penalty is chosen").min(0.01).max(0.9)).optional(),
		section("knn", "classification by the nearest samples of `train`; left out: none", learnedClasses,
			key("k", clip.TypeInt, int64(20), "neighbours that vote").min(1).max(1<<20),
			key("temperature", clip.TypeFloat, 0.07, "a neighbour with cosine s votes with the weight exp(s/temperature); 0: all with the same").min(0).max(1e6)).optional(),
		section("few_shot", "learning from a few samples of `train` of each class; left out: none", learnedClasses,
			key("shots", clip.TypeList, []any{int64(1), int64(2), int64(4), int64(8), int64(16)}, "samples of each class").of(clip.TypeInt).min(1).max(1<<20),
			key("draws", clip.TypeInt, int64(5), "how often the samples are drawn; figures are means").min(1).max(1000),
			key("classifier", clip.TypeString, Prototypes, "`prototypes`: the class whose mean is nearest; `linear_probe`: a logistic regression").enum(Prototypes, LinearClassifier),
			key("c", clip.TypeFloat, 31.6, "strength of the logistic regression, the inverse of the penalty, for features of length 1").min(1e-6).max(1e6)).optional(),
	}
	promptMeasures = []Key{
		section("robustness", "the classification by `zero_shot` of pictures that are spoilt by degrees; left out: none",
			key("corruptions", clip.TypeList, anys(Corruptions), "in which ways").of(clip.TypeString).enum(Corruptions...),
			key("severities", clip.TypeList, []any{int64(1), int64(2), int64(3), int64(4), int64(5)}, "by how much: 1 to 5").of(clip.TypeInt).min(1).max(5)).optional(),
		key("calibration", clip.TypeBool, false, "how far the probabilities of `zero_shot` can be believed, before and after a temperature is fitted"),
	}
	choiceKey = key("choices", clip.TypeBool, false, "choice between a picture's caption and the dataset's texts that do not describe it")
)

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// checkMeasures reports measures of the evaluation m at p whose prerequisites are not there.
func (c *checker) checkMeasures(m map[string]any, p path) {
	for _, k := range learningMeasures {
		if asks(m[k.Name]) && m["train"] == nil {
			c.fault(p.with(k.Name), "learns from samples, and the evaluation names none").
				WithHint("train: {with: {split: train}} names them, or train: {dataset: …}")
		}
	}
	for _, k := range promptMeasures {
		if asks(m[k.Name]) && m["zero_shot"] == nil {
			c.fault(p.with(k.Name), "measures the classification by prompts, and there is none").WithHint("add zero_shot: {classes: …}")
		}
	}
	for _, list := range []path{{"few_shot", "shots"}, {"robustness", "corruptions"}, {"robustness", "severities"}} {
		values, ok := lookup(m, list).([]any)
		if !ok {
			continue
		}
		at := p.with(list[0]).with(list[1])
		if len(values) == 0 {
			c.fault(at, "an empty list measures nothing")
		}
		seen := map[any]bool{}
		for _, v := range values {
			if _, isBad := v.(bad); !isBad && seen[v] {
				c.fault(at, "%v is there twice", v)
			}
			seen[v] = true
		}
	}
}

// measures lists the figures that an evaluation may give, without its name: the deciding one first.
func (e Eval) measures() []string {
	var all []string
	if e.ZeroShot != nil {
		all = append(all, metric.ClassificationMeasures()...)
	}
	if e.Retrieval {
		all = append(all, metric.RetrievalMeasures()...)
	}
	if e.LinearProbe != nil {
		all = append(all, metric.LinearProbeMeasures()...)
	}
	if e.KNN != nil {
		all = append(all, metric.NearestMeasures()...)
	}
	if f := e.FewShot; f != nil {
		all = append(all, metric.FewShotMeasures(f.Shots)...)
	}
	if e.Choices {
		all = append(all, metric.ChoiceMeasures()...)
	}
	if e.Calibration {
		all = append(all, metric.CalibrationMeasures()...)
	}
	if r := e.Robustness; r != nil {
		all = append(all, metric.RobustnessMeasures(r.Corruptions, r.Severities)...)
	}
	return all
}
