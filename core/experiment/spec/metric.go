package spec

import (
	"slices"

	"tandem/core/results/metric"
)

// DecidingMetric returns the metric that lists of runs show and sweeps compare when nothing else is said: the
// first figure of the first evaluation.
func (s *Spec) DecidingMetric() string {
	if names := s.EvalMetrics(); len(names) > 0 {
		return names[0]
	}
	return metric.TrainLoss
}

// EvalMetrics returns the metrics that the spec's evaluations give, those by averaged weights after the others. A run has top5 only from five classes on,
// recall at K only with enough candidates, and averages of precision only where a query has several positives.
func (s *Spec) EvalMetrics() []string {
	var names, averaged []string
	for _, e := range s.Eval {
		for _, measure := range e.measures() {
			names = append(names, metric.Evaluated(e.Name, measure))
			averaged = append(averaged, metric.Evaluated(metric.Averaged(e.Name), measure))
		}
	}
	if s.Averages("image") || s.Averages("text") {
		names = append(names, averaged...)
	}
	return names
}

// Gives reports whether a run of s records a metric: one of EvalMetrics, or any of training, since
// losses name their own parts.
func (s *Spec) Gives(name string) bool {
	return metric.IsTraining(name) || slices.Contains(s.EvalMetrics(), name)
}
