package propose

import (
	"cmp"
	"math"
	"slices"

	"tandem/core/random"
)

// State tells what is known of a point.
type State int

// The states, best first.
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
	Cost  float64 // of Finished: smaller is better; NaN counts as Failed
}

const (
	startup    = 10  // random points before the first estimate
	candidates = 64  // points that the estimate of the good ones proposes
	goodShare  = .15 // of the points are called good
	magnitude  = .2  // width of a kernel for one point, as a share of the range
	attempts   = 200 // draws of a point that was not suggested before
)

// Next returns suggestion n of a search, counted from 1, given what came of those before: a seeded random point as long as there are few
// results, then the best of some candidates of a tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for
// hyper-parameter optimization", §4), which is multivariate: a kernel spans all dimensions, those that do not apply excepted.
// A candidate is good where points like the good ones lie dense and points like the others do not. A failed point is among the
// others, and so is a pending one, so that suggestions made at the same time keep apart.
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
	if i > 0 {
		return s.Random(seed+1, n*attempts+i)
	}
	return s.Random(seed, n)
}

// estimate returns the best new candidate; nil when there is none, or fewer than two points have a cost.
func (s Space) estimate(seed uint64, n int, results []Result) Point {
	order := slices.Clone(results)
	for i, r := range order {
		if r.State == Finished && math.IsNaN(r.Cost) {
			order[i].State = Failed
		}
	}
	slices.SortStableFunc(order, func(a, b Result) int {
		if a.State == Finished && b.State == Finished {
			return cmp.Compare(a.Cost, b.Cost)
		}
		return cmp.Compare(a.State, b.State)
	})
	finished := 0
	points := make([]Point, len(order))
	for i, r := range order {
		points[i] = r.Point
		if r.State == Finished {
			finished++
		}
	}
	if finished < 2 {
		return nil
	}
	good := min(finished, int(math.Ceil(goodShare*float64(len(points)))))
	better, worse := newMixture(s, points[:good]), newMixture(s, points[good:])
	stream := random.New(seed, "search", n)
	var best Point
	top := math.Inf(-1)
	for range candidates {
		p := better.draw(stream)
		if gain := better.logDensity(p) - worse.logDensity(p); gain > top && !suggested(results, p) {
			best, top = p, gain
		}
	}
	return best
}
