package spec

import (
	"slices"

	"tandem/core/results/metric"
)

// DecidingMetric is what lists of runs show and sweeps compare when nothing else is said: the first
// evaluation's first figure.
func (s *Spec) DecidingMetric() string {
	if names := s.EvalMetrics(); len(names) > 0 {
		return names[0]
	}
	return metric.TrainLoss
}

// EvalMetrics are the metrics that the spec's evaluations give. Of these, top5 is given from five
// classes on, and recall at K where there are candidates enough.
func (s *Spec) EvalMetrics() []string {
	var names []string
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
		}
	}
	return names
}

// Gives says whether a run of s records a metric: one of EvalMetrics, or any of training, since
// losses name their own parts.
func (s *Spec) Gives(name string) bool {
	return metric.IsTraining(name) || slices.Contains(s.EvalMetrics(), name)
}
