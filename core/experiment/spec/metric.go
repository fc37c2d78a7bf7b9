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
// and recall at K only with enough candidates.
func (s *Spec) EvalMetrics() []string {
	var names, averaged []string
	for _, e := range s.Eval {
		var measures []string
		if e.ZeroShot != nil {
			measures = append(measures, metric.ClassificationMeasures()...)
		}
		if e.Retrieval {
			measures = append(measures, metric.RetrievalMeasures()...)
		}
		for _, measure := range measures {
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
