package spec

import (
	"slices"
	"strings"
)

// DecidingMetric is what lists of runs show and sweeps compare when nothing else is said: the first
// evaluation's first figure.
func (s *Spec) DecidingMetric() string {
	if names := s.EvalMetrics(); len(names) > 0 {
		return names[0]
	}
	return "train/loss"
}

// EvalMetrics are the metrics that the spec's evaluations give. Of these, top5 is given from five
// classes on, and recall at K where there are candidates enough.
func (s *Spec) EvalMetrics() []string {
	var names []string
	for _, e := range s.Eval {
		of := "eval/" + e.Name + "/"
		if e.ZeroShot != nil {
			names = append(names, of+"top1", of+"top5", of+"mean_per_class_recall")
		}
		if e.Retrieval {
			for _, way := range []string{"image_to_text", "text_to_image"} {
				for _, what := range []string{"R@1", "R@5", "R@10", "mean_rank", "median_rank"} {
					names = append(names, of+way+"_"+what)
				}
			}
		}
	}
	return names
}

// Gives says whether a run of s records a metric: one of EvalMetrics, or any of training, since
// losses name their own parts.
func (s *Spec) Gives(metric string) bool {
	return strings.HasPrefix(metric, "train/") && metric != "train/" || slices.Contains(s.EvalMetrics(), metric)
}
