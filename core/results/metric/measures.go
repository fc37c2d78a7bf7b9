package metric

import "fmt"

// The measures that evaluations take beside the classification by prompts and retrieval. They begin the names of their figures.
const (
	LinearProbe = "linear_probe"
	Nearest     = "knn"
	FewShot     = "few_shot"
	Robustness  = "robust"
	Calibrated  = "calibration"
	Choices     = "choices"
)

// Of names a figure of a measure: linear_probe_top1.
func Of(measure, figure string) string { return measure + "_" + figure }

// Figures of measures.
const (
	Top1         = top1
	Strength     = "C"             // of a linear probe's fit
	Drop         = "drop"          // the share of top1 that is lost
	Temperatures = "temperature"   // that fits best
	Accuracy     = "accuracy"      // the share of choices that are right
	PairAccuracy = "pair_accuracy" // the same of choices between two
	Chance       = chance          // what guessing would give
	fitted       = "fitted"        // with the temperature
	std          = "std"           // the standard deviation
)

// Fitted names a figure of calibration after a temperature was fitted.
func Fitted(figure string) string { return Of(fitted, figure) }

// Shots names the figure of so many examples a class: few_shot_4_top1.
func Shots(n int) string { return Of(FewShot, fmt.Sprintf("%d_%s", n, top1)) }

// Std names the standard deviation of a figure.
func Std(figure string) string { return Of(figure, std) }

// Corrupted names the figure of a kind of corruption at a severity, or with 0 the mean of its severities: robust_jpeg_3_top1.
func Corrupted(kind string, severity int) string {
	if severity == 0 {
		return Of(Robustness, Of(kind, top1))
	}
	return Of(Robustness, fmt.Sprintf("%s_%d_%s", kind, severity, top1))
}

// LinearProbeMeasures lists the figures of a linear probe, the deciding one first.
func LinearProbeMeasures() []string {
	return []string{Of(LinearProbe, top1), Of(LinearProbe, top5), Of(LinearProbe, meanPerClassRecall), Of(LinearProbe, Strength)}
}

// NearestMeasures lists the figures of nearest neighbours, the deciding one first.
func NearestMeasures() []string {
	return []string{Of(Nearest, top1), Of(Nearest, top5), Of(Nearest, meanPerClassRecall)}
}

// FewShotMeasures lists the figures of few examples a class.
func FewShotMeasures(shots []int) []string {
	var all []string
	for _, n := range shots {
		all = append(all, Shots(n), Std(Shots(n)))
	}
	return all
}

// RobustnessMeasures lists the figures of corrupted pictures, the deciding one first.
func RobustnessMeasures(kinds []string, severities []int) []string {
	all := []string{Of(Robustness, top1), Of(Robustness, Drop)}
	for _, kind := range kinds {
		all = append(all, Corrupted(kind, 0))
		for _, s := range severities {
			all = append(all, Corrupted(kind, s))
		}
	}
	return all
}

// CalibrationMeasures lists the figures of calibration, the deciding one first.
func CalibrationMeasures() []string {
	var before, after []string
	for _, m := range []string{ece, adaptiveECE, brier, nll} {
		before, after = append(before, Of(Calibrated, m)), append(after, Of(Calibrated, Fitted(m)))
	}
	return append(append(before, after...), Of(Calibrated, Temperatures))
}

// ChoiceMeasures lists the figures of choices among captions, the deciding one first.
func ChoiceMeasures() []string {
	return []string{Of(Choices, Accuracy), Of(Choices, Chance), Of(Choices, PairAccuracy)}
}
