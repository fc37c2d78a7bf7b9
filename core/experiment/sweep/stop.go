package sweep

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"tandem/core/experiment/spec"
	"tandem/core/results"
)

// Rule decides when a trial is stopped early.
type Rule interface {
	// Decide reports whether a trial whose curve has just reached step is stopped, and why. others holds
	// the curves of all other trials of the sweep, in any order, with the baseline's and those of trials
	// that ended or were stopped; only what they hold now counts. Trials are compared at equal steps. A NaN
	// is worse than every number.
	//
	// The caller asks once for each point of the metric, as it comes, but not at a run's last point, where
	// nothing is left to save. The same curves give the same answer.
	Decide(step int, own results.Curve, others []results.Curve) (reason string, stop bool)
}

// NewRule returns the rule that s describes. grace is s.Grace in steps of the trial; smaller says that smaller
// values of the metric are better.
func NewRule(s *spec.Stop, grace int, smaller bool) Rule {
	o := order{*s, max(1, grace), -1}
	if smaller {
		o.sign = 1
	}
	if s.Rule == spec.ASHA {
		return asha{o}
	}
	return median{o}
}

// order holds what both rules have: costs, which are values turned so that smaller ones are better.
type order struct {
	spec.Stop
	grace int
	sign  float64
}

func (o order) cost(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(1)
	}
	return o.sign * v
}

// value returns the value of a cost; NaN for the worst.
func (o order) value(cost float64) float64 {
	if math.IsInf(cost, 1) {
		return math.NaN()
	}
	return o.sign*cost + 0 // no -0
}

// median implements the median stopping rule (Golovin et al. 2017, "Google Vizier: a service for black-box
// optimization", §3.2.2): a trial is stopped when its best value so far is worse than the median of the other
// trials' running averages up to the same step. As the averages lag behind, a trial that improves is rarely
// stopped by mistake. Vizier counts completed trials alone; here those count that have come as far, since in a
// sweep with several jobs few are completed while it matters.
type median struct{ order }

func (m median) Decide(step int, own results.Curve, others []results.Curve) (string, bool) {
	own = own.UpTo(step)
	if step < m.grace || len(own) == 0 {
		return "", false
	}
	best := math.Inf(1)
	for _, p := range own {
		best = math.Min(best, m.cost(p.Value))
	}
	var means []float64
	for _, c := range others {
		if before := c.UpTo(step); c.HasReached(step) && len(before) > 0 {
			sum := 0.0
			for _, p := range before {
				sum += p.Value
			}
			means = append(means, m.cost(sum/float64(len(before))))
		}
	}
	n := len(means)
	if n < m.MinTrials {
		return "", false
	}
	slices.Sort(means)
	middle := (means[(n-1)/2] + means[n/2]) / 2
	if !(best > middle) {
		return "", false
	}
	return fmt.Sprintf("%s of %.4g at best up to step %d is worse than %.4g, the median of the averages of %d other trials",
		m.Metric, m.value(best), step, m.value(middle), n), true
}

// asha implements asynchronous successive halving (Li et al. 2020, "A system for massively parallel
// hyperparameter tuning", algorithm 2) in the form that stops trials instead of pausing them, as Ray Tune and
// Syne Tune have it too: at the rungs grace, grace·eta, grace·eta², … a trial goes on when its value is among
// the best 1/eta of those that have been recorded at the rung so far, its own included, and otherwise stops.
// Where fewer than eta are recorded it goes on, and what is recorded later undoes nothing.
//
// The value recorded at a rung is the first at its step or after.
type asha struct{ order }

func (a asha) Decide(step int, own results.Curve, others []results.Curve) (string, bool) {
	own = own.UpTo(step)
	rung := a.rung(step)
	if rung == 0 || len(own) == 0 || own[len(own)-1].Step < rung || len(own) > 1 && own[len(own)-2].Step >= rung {
		return "", false // below the first, or this rung was decided at an earlier point
	}
	at := a.cost(own[len(own)-1].Value)
	n, better := 1, 0
	for _, c := range others {
		if i := sort.Search(len(c), func(i int) bool { return c[i].Step >= rung }); i < len(c) {
			n++
			if a.cost(c[i].Value) < at {
				better++
			}
		}
	}
	if keep := n / a.Eta; n-1 < a.MinTrials || keep == 0 || better < keep {
		return "", false
	}
	return fmt.Sprintf("%s of %.4g at step %d is place %d of %d at rung %d, and one in %d goes on",
		a.Metric, a.value(at), step, better+1, n, rung, a.Eta), true
}

// rung returns the highest rung at or below step; 0 for none.
func (a asha) rung(step int) int {
	if step < a.grace {
		return 0
	}
	r := a.grace
	for r <= step/a.Eta {
		r *= a.Eta
	}
	return r
}
