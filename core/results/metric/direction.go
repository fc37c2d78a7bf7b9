package metric

import (
	"strings"
	"unicode"
)

// Direction says which values of a metric are better.
type Direction int

// The directions.
const (
	Down Direction = -1 // smaller ones
	None Direction = 0  // neither: a norm or a rate may differ, and is no better for it
	Up   Direction = 1  // larger ones
)

// directions lists, by the last word of the name, the metrics of this project and those of the field that plugins are likely
// to give. What is not listed has no direction: a guess might call the worse model better.
var directions = func() map[string]Direction {
	all := map[string]Direction{}
	for d, words := range map[Direction]string{
		Up: "top1 top3 top5 top10 accuracy acc recall precision f1 auc auroc auprc map ap mrr ndcg r2 bleu cider",
		Down: "loss nll ece mce brier error errors err eer perplexity ppl rank latency ms mse mae rmse wer cer regret " +
			"fpr fpr80 fpr90 fpr95 fnr drop",
	} {
		for _, w := range strings.Fields(words) {
			all[w] = d
		}
	}
	return all
}()

// DirectionOf returns the direction of a metric by its name: Down for train/loss and its parts, …_rank and …_ms; Up for top1,
// …R@k, …mAP@k and …_per_s. Learning rates, norms, scales, counts, distances and whatever is not listed have None.
func DirectionOf(name string) Direction {
	parts := strings.Split(strings.ToLower(name), "/")
	last := parts[len(parts)-1]
	switch {
	case strings.HasPrefix(name, TrainLoss+"/"):
		return Down
	case strings.HasPrefix(name, GradNorm+"/"): // its last part names a part of the model: that of the loss is no loss
		return None
	case strings.HasSuffix(last, "_per_s"), strings.Contains(last, "r@"), strings.Contains(last, "map@"):
		return Up
	}
	words := strings.FieldsFunc(last, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return None
	}
	return directions[words[len(words)-1]]
}

// DirectionIn returns the direction of a metric as an experiment's spec says (up, down or none, by metric), or as DirectionOf
// where the spec does not say.
func DirectionIn(said map[string]string, name string) Direction {
	if text, has := said[name]; has {
		d, _ := ParseDirection(text)
		return d
	}
	return DirectionOf(name)
}

// ParseDirection reads up, down or none, as String writes them.
func ParseDirection(text string) (d Direction, known bool) {
	for _, d := range []Direction{Up, Down, None} {
		if text == d.String() {
			return d, true
		}
	}
	return None, false
}

// String returns up, down or none, as specs write it.
func (d Direction) String() string {
	switch d {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "none"
}
