package assemble

import (
	"tandem/core/experiment/eval"
	"tandem/core/experiment/spec"
)

// Measures returns what an evaluation of a spec measures, in the order of its figures.
func Measures(e spec.Eval) []eval.Measure {
	var all []eval.Measure
	if z := e.ZeroShot; z != nil {
		all = append(all, eval.ZeroShot{Target: z.Classes, Templates: z.Templates})
	}
	if e.Retrieval {
		all = append(all, eval.Retrieval{EqualCaptions: e.EqualCaptions})
	}
	return all
}

// EvalPlan plans the evaluations of the model's spec for its parameters as they are.
func (m *Model) EvalPlan() *eval.Plan {
	jobs := make([]eval.Job, len(m.Spec.Eval))
	for i, e := range m.Spec.Eval {
		cfg := eval.Config{Name: e.Name, BatchSize: e.BatchSize, Measures: Measures(e), MaxBadShare: e.MaxBadShare}
		cfg.Average.Image, cfg.Average.Text = m.Spec.Averages(RoleImage), m.Spec.Averages(RoleText)
		jobs[i] = eval.Job{Config: cfg, Parts: m.Evals[i]}
	}
	return eval.NewPlan(jobs)
}
