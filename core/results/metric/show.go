package metric

import (
	"slices"
	"strings"
)

// Unit says in what a metric is measured, and so how its values are written.
type Unit int

// The units.
const (
	Plain        Unit = iota // a number without a unit
	Share                    // a fraction of 1, written as a percentage
	Milliseconds             // a time
	PerSecond                // a rate
)

// shares lists the endings of measures that are fractions of 1.
var shares = []string{top1, top5, "recall", "accuracy", rPrecision, reciprocalRank, ece, chance, "_drop", "_top1_std"}

// UnitOf returns the unit of a metric, by the last part of its name: …top1, …top5, …R@k, …mAP@k, …recall, …accuracy, …ece and
// others are shares, …_ms times, …_per_s rates.
func UnitOf(name string) Unit {
	last := Measure(name)
	isShare := strings.Contains(last, recall) || strings.Contains(last, "mAP@") ||
		slices.ContainsFunc(shares, func(ending string) bool { return strings.HasSuffix(last, ending) })
	switch {
	case isShare:
		return Share
	case strings.HasSuffix(last, "_per_s"):
		return PerSecond
	case strings.HasSuffix(last, "_ms"):
		return Milliseconds
	}
	return Plain
}

// IsShare reports whether the metric is a fraction of 1, which is written as a percentage.
func IsShare(name string) bool { return UnitOf(name) == Share }

// HasBest reports whether the best value that a run reached says anything: of a gradient norm or a learning rate it does not.
func HasBest(name string) bool {
	unit := UnitOf(name)
	return IsEvaluation(name) || unit == PerSecond || unit == Milliseconds || name == TrainLoss || strings.HasPrefix(name, TrainLoss+"/")
}

// IsHeadline reports whether the line that a terminal shows of an evaluation has this metric.
func IsHeadline(name string) bool {
	measure := Measure(name)
	switch measure {
	case top1, top5,
		Directed(ImageToText, recallName(1)), Directed(TextToImage, recallName(1)),
		Directed(ImageToText, recallName(5)), Directed(TextToImage, recallName(5)),
		Of(LinearProbe, top1), Of(Nearest, top1), Of(Robustness, top1), Of(Calibrated, ece), Of(Choices, Accuracy):
		return true
	}
	return strings.HasPrefix(measure, FewShot) && strings.HasSuffix(measure, top1)
}

// IsTelling reports whether the metric's curve is drawn before those of other metrics, where there is not room for all.
func IsTelling(name string) bool {
	return strings.HasSuffix(name, "/"+top1) || strings.HasSuffix(name, "/"+top5) || strings.HasSuffix(name, "_"+recallName(1))
}

// Names returns the keys of metrics in the order of Compare.
func Names[V any](metrics map[string]V) []string {
	names := make([]string, 0, len(metrics))
	for name := range metrics {
		names = append(names, name)
	}
	slices.SortFunc(names, Compare)
	return names
}

// Compare orders metrics for lists: those of evaluations first, and numbers in names by value, so that R@5 is before R@10.
func Compare(a, b string) int {
	if ea, eb := IsEvaluation(a), IsEvaluation(b); ea != eb {
		if ea {
			return -1
		}
		return 1
	}
	return compareNatural(a, b)
}

func compareNatural(a, b string) int {
	for a != "" && b != "" {
		na, nb := countDigits(a), countDigits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if x != y {
				return strings.Compare(x, y)
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// countDigits returns the length of the number that text begins with.
func countDigits(text string) int {
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}
