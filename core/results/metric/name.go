package metric

import (
	"slices"
	"strings"

	"tandem/core/fault"
)

// A metric's name is a path: train/MEASURE, or eval/EVALUATION/MEASURE. Losses name parts and scalars of their own below
// train/; evaluations give the measures of Classification and Retrieval.
const (
	training   = "train/"
	evaluation = "eval/"
)

// The metrics that every training records.
const (
	TrainLoss    = training + "loss"
	LearningRate = training + "lr"
	GradNorm     = training + "grad_norm"
	SamplesPerS  = training + "samples_per_s"
	DataWaitMS   = training + "data_wait_ms"
)

// Metrics that some runs record: LogitScale those whose loss has one, StepMS those of other programs.
const (
	LogitScale = training + "logit_scale"
	StepMS     = training + "step_ms"
)

// The two ways of retrieval: from an image to its captions, and from a caption to its image.
const (
	ImageToText = "image_to_text"
	TextToImage = "text_to_image"
)

// Training names a measure of training: train/lr.
func Training(measure string) string { return training + measure }

// LossPart names a part of the training loss: train/loss/image_to_text.
func LossPart(part string) string { return TrainLoss + "/" + part }

// GradNormOf names the gradient norm of a part of the model: train/grad_norm/image.
func GradNormOf(part string) string { return GradNorm + "/" + part }

// Evaluated names a measure of an evaluation: eval/emoji/top1.
func Evaluated(by, measure string) string { return evaluation + by + "/" + measure }

// averaged marks an evaluation by averaged weights. Names of evaluations in specs have no such letter.
const averaged = "@ema"

// Averaged names an evaluation by averaged weights, beside that by the live ones: emoji@ema.
func Averaged(by string) string { return by + averaged }

// Live returns the evaluation by live weights that one by averaged weights stands beside: emoji of emoji@ema, and any other
// name as it is.
func Live(by string) string { return strings.TrimSuffix(by, averaged) }

// IsAveraged reports whether an evaluation by averaged weights records the metric.
func IsAveraged(name string) bool {
	by, ok := Evaluation(name)
	return ok && Live(by) != by
}

// Directed names a measure of retrieval in one of its ways: image_to_text_R@1.
func Directed(way, measure string) string { return way + "_" + measure }

// ClassificationMeasures lists what Classification gives of many classes, the deciding one first.
func ClassificationMeasures() []string { return []string{top1, top5, meanPerClassRecall} }

// RetrievalMeasures lists what an evaluation of retrieval gives of many candidates and several positives, both ways, the deciding
// one first.
func RetrievalMeasures() []string {
	var all []string
	for _, way := range []string{ImageToText, TextToImage} {
		for _, k := range recallAt {
			all = append(all, Directed(way, recallName(k)))
		}
		for _, measure := range []string{meanRank, medianRank, meanAveragePrecision, rPrecision, reciprocalRank} {
			all = append(all, Directed(way, measure))
		}
	}
	return all
}

// IsTraining reports whether training records the metric.
func IsTraining(name string) bool { return strings.HasPrefix(name, training) && name != training }

// IsEvaluation reports whether an evaluation records the metric.
func IsEvaluation(name string) bool { return strings.HasPrefix(name, evaluation) }

// Evaluation returns the evaluation that records the metric: emoji of eval/emoji/top1. ok is false for a metric of training.
func Evaluation(name string) (by string, ok bool) {
	rest, ok := strings.CutPrefix(name, evaluation)
	return rest[:max(0, strings.LastIndexByte(rest, '/'))], ok
}

// Source returns the part of the name before its measure: eval/emoji of eval/emoji/top1, train of train/loss.
func Source(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }

// Measure returns the last part of the name: top1 of eval/emoji/top1.
func Measure(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// Short shortens the name for headings and sentences: emoji/top1 for eval/emoji/top1. A metric of training keeps its name.
func Short(name string) string { return strings.TrimPrefix(name, evaluation) }

// CommonSource returns the beginning that all names share, with its slash: eval/emoji/ where one evaluation gives them all. It
// is empty where there are fewer than two names or their sources differ.
func CommonSource(names []string) string {
	if len(names) < 2 {
		return ""
	}
	prefix := names[0][:strings.LastIndexByte(names[0], '/')+1]
	if slices.ContainsFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) }) {
		return ""
	}
	return prefix
}

// Find returns the metric among names that word means: word itself, or the only name that ends with it (top1), or the only one
// of these by live weights. A word that means none is returned as it is. Errors: fault.Invalid, when several names end with it.
func Find(word string, names []string) (string, error) {
	found, several := fault.Expand(word, names)
	if live := slices.DeleteFunc(slices.Clone(several), IsAveraged); len(live) == 1 {
		return live[0], nil
	}
	switch {
	case found != "" || word == "":
		return found, nil
	case len(several) > 0:
		return "", fault.New(fault.Invalid, "%q is the end of %d metrics", word, len(several)).WithHint("one of %s", strings.Join(several, ", "))
	}
	return word, nil
}
