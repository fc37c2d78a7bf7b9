package metric

import (
	"strings"
	"unicode"
)

// Direction says which way a metric is good.
type Direction int

// The directions.
const (
	Down Direction = -1
	None Direction = 0 // it may differ, and neither way is better
	Up   Direction = 1
)

// directions are declared for the figures that this project makes and for those of the field that plugins are likely to
// give, by the last word of the name. What is not here has no direction: a guess would call the worse model better.
var directions = func() map[string]Direction {
	all := map[string]Direction{}
	for d, words := range map[Direction]string{
		Up: "top1 top3 top5 top10 accuracy acc recall precision f1 auc auroc auprc map ap mrr ndcg r2 bleu cider",
		Down: "loss nll ece mce brier error errors err eer perplexity ppl rank latency ms mse mae rmse wer cer regret " +
			"fpr fpr80 fpr90 fpr95 fnr",
	} {
		for _, w := range strings.Fields(words) {
			all[w] = d
		}
	}
	return all
}()

// DirectionOf says which way a metric is good, by its name: train/loss and its parts, …_rank, …_ms down; top1, …R@k,
// …_per_s up. Learning rates, norms, scales, counts, distances, and whatever is not declared have none.
func DirectionOf(name string) Direction {
	parts := strings.Split(strings.ToLower(name), "/")
	last := parts[len(parts)-1]
	switch {
	case strings.HasPrefix(name, "train/loss/"):
		return Down
	case strings.HasPrefix(name, "train/grad_norm/"): // of a tower, or of the loss's own parameters
		return None
	case strings.HasSuffix(last, "_per_s"), strings.Contains(last, "r@"):
		return Up
	}
	words := strings.FieldsFunc(last, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return None
	}
	return directions[words[len(words)-1]]
}

// ParseDirection reads up, down or none.
func ParseDirection(text string) (d Direction, known bool) {
	switch text {
	case "up":
		return Up, true
	case "down":
		return Down, true
	}
	return None, text == "none"
}
