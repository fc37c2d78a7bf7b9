package propose

import (
	"math"
	"slices"

	"tandem/core/random"
)

// State tells what is known of a point.
type State int

// The states.
const (
	Finished State = iota // it has a cost
	Stopped               // ended early, as others were better
	Failed                // ended without a cost: failed, or diverged
	Pending               // not over
)

// Result holds a point that was suggested, and what came of it.
type Result struct {
	Point Point
	State State
	Cost  float64 // of Finished: smaller is better; NaN and infinities count as Failed
}

const (
	startup    = 10  // spread points before the first estimate
	candidates = 500 // points beside the good ones that are weighed
	goodShare  = .05 // of the points are called good
	goodLeast  = 3   // points are called good, where there are so many
	attempts   = 200 // draws of a point that was not suggested before
)

// Next returns suggestion n of a search, counted from 1, given what came of those before. The first ones are a Latin hypercube (McKay, Beckman
// and Conover 1979): in each dimension, each tenth of the range has one of ten points. Each later one is the candidate with the greatest
// expected improvement by a Gaussian process (Jones, Schonlau and Welch 1998, "Efficient global optimization of expensive
// black-box functions", §4) over the least predicted mean of a known point. Candidates are drawn near the points with the best means, from
// the density of good points of a tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter
// optimization", §4): a process that has seen few points expects too much of the many corners of a space, where nothing was tried.
//
// Stopped and failed points are as bad as the worst. Pending ones are believed to get what is predicted, so that suggestions made
// at the same time keep apart.
//
// It returns false when no point is left that was not suggested before, as far as a few hundred draws can tell.
func (s Space) Next(seed uint64, n int, results []Result) (Point, bool) {
	if n > startup {
		if p := s.estimate(seed, n, results); p != nil {
			return p, true
		}
	}
	for i := range attempts {
		p := s.first(seed, n, i)
		if !suggested(results, p) {
			return p, true
		}
	}
	return nil, false
}

func suggested(results []Result, p Point) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Point.Equal(p) })
}

// first returns a point for suggestion n without any results; i counts repetitions.
func (s Space) first(seed uint64, n, i int) Point {
	if i > 0 || n > startup {
		return s.Random(seed+1, n*attempts+i)
	}
	return s.build(func(d Dim) float64 {
		stratum := random.New(seed, "search strata "+d.Name).Perm(startup)[n-1]
		return d.at((float64(stratum) + random.New(seed, "search "+d.Name, n).Float64()) / startup)
	})
}

// estimate returns the best new candidate; nil when there is none, or fewer than two points have a cost.
func (s Space) estimate(seed uint64, n int, results []Result) Point {
	finished := 0
	for _, r := range results {
		if r.finished() {
			finished++
		}
	}
	if finished < 2 {
		return nil
	}
	points, values, pending := known(seed, n, results)
	process := newProcess(s.choices(), s.coordinates(points...), values)
	means := make([]float64, len(points))
	for i, at := range process.at {
		means[i], _ = process.predict(at)
	}
	order := sorted(means)
	least := means[order[0]]
	if len(pending) > 0 {
		process.believe(s.coordinates(pending...))
	}
	good := newMixture(s, pick(points, order[:min(len(order), max(goodLeast, int(math.Ceil(goodShare*float64(len(points))))))]))
	stream := random.New(seed, "search", n)
	var best Point
	top := math.Inf(-1)
	for range candidates {
		p := good.draw(stream)
		mean, deviation := process.predict(s.coordinates(p)[0])
		if gain := math.Log(deviation) + logImprovement((least-mean)/deviation); gain > top && !suggested(results, p) {
			best, top = p, gain
		}
	}
	return best
}

// choices reports which dimensions are choices.
func (s Space) choices() []bool {
	choice := make([]bool, len(s))
	for i, d := range s {
		choice[i] = d.Choices > 0 && d.Places == nil
	}
	return choice
}

// coordinates returns points for a process: numbers and places in [0, 1], other choices by their index. A number that does not apply is in the middle, and
// the choice that it depends on keeps such a point apart from others.
func (s Space) coordinates(points ...Point) [][]float64 {
	all := make([][]float64, len(points))
	for k, p := range points {
		at := make([]float64, len(s))
		for i, d := range s {
			switch {
			case d.Choices > 0 && d.Places == nil && math.IsNaN(p[i]):
				at[i] = -1
			case math.IsNaN(p[i]):
				at[i] = .5
			case d.Places != nil:
				at[i] = d.Places[int(p[i])]
			case d.Choices > 0:
				at[i] = p[i]
			default:
				at[i] = d.unit(p[i])
			}
		}
		all[k] = at
	}
	return all
}

// logImprovement returns the logarithm of the expected excess of a standard normal value over −z, far below 0 too (Ament et al. 2023,
// "Unexpected improvements to expected improvement for Bayesian optimization", §4.1).
func logImprovement(z float64) float64 {
	if z < -10 { // the first terms of a series that is cut
		return -z*z/2 - math.Log(2*math.Pi)/2 + math.Log((1-3/(z*z)+15/(z*z*z*z))/(z*z))
	}
	return math.Log(math.Exp(-z*z/2)/math.Sqrt(2*math.Pi) + z*phi(z))
}
