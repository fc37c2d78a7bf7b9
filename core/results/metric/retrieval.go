package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// The measures of Retrieval: recall among the first k of recallAt, then ranks.
const (
	recall     = "R@"
	meanRank   = "mean_rank"
	medianRank = "median_rank"
	// Of queries with several positives:
	meanAveragePrecision = "mAP@10"
	rPrecision           = "R-precision"
	reciprocalRank       = "MRR"
)

// precisionDepth is the k of mAP@k.
const precisionDepth = 10

var recallAt = []int{1, 5, 10}

func recallName(k int) string { return fmt.Sprintf("%s%d", recall, k) }

// Retrieval accumulates how well queries find their positives among candidates, in one direction,
// one query at a time. A candidate is a positive of a query when they have a group in common; a query may
// have several.
//
// The rank of a query is that of its best positive, from 1: one more than the candidates of other
// groups that score at least as high. Ties thus count against the model, so that one that maps
// everything to one point finds nothing.
type Retrieval struct {
	groups  [][]int64
	present map[int64]bool
	ranks   []int
	skipped int

	several          bool      // a query has more than one positive
	average, atCount []float64 // by query: average precision among the first precisionDepth; precision among as many as it has positives
	found            []float32 // scores of a query's positives, greatest first
	ahead            []int     // by positive: candidates of other groups that rank before it, and not before those above
}

// Alone gives every candidate a group list of its own: candidate i has the one group groups[i].
func Alone(groups []int64) [][]int64 {
	out := make([][]int64, len(groups))
	for i := range groups {
		out[i] = groups[i : i+1 : i+1]
	}
	return out
}

// NewRetrieval starts with candidates of these groups. It keeps groups without a copy.
func NewRetrieval(groups [][]int64) *Retrieval {
	r := &Retrieval{groups: groups, present: make(map[int64]bool, len(groups))}
	for _, all := range groups {
		for _, g := range all {
			r.present[g] = true
		}
	}
	return r
}

// Add takes the scores of one query, one per candidate, and its groups. A query without a positive is
// counted by Skipped and otherwise left out. It panics when there are not as many scores as
// candidates.
func (r *Retrieval) Add(scores []float32, groups ...int64) {
	if len(scores) != len(r.groups) {
		panic(fmt.Sprintf("metric: %d scores for %d candidates", len(scores), len(r.groups)))
	}
	if !slices.ContainsFunc(groups, func(g int64) bool { return r.present[g] }) {
		r.skipped++
		return
	}
	positive := func(i int) bool {
		if len(groups) == 1 && len(r.groups[i]) == 1 {
			return groups[0] == r.groups[i][0]
		}
		return slices.ContainsFunc(r.groups[i], func(g int64) bool { return slices.Contains(groups, g) })
	}
	r.found = r.found[:0]
	for i, s := range scores {
		if positive(i) {
			if s != s {
				s = float32(math.Inf(-1)) // it loses to every number, and ties count against it
			}
			r.found = append(r.found, s)
		}
	}
	slices.SortFunc(r.found, func(a, b float32) int { return cmp.Compare(b, a) })
	n := len(r.found)
	r.ahead = append(r.ahead[:0], make([]int, n)...)
	for i, s := range scores {
		if (s >= r.found[n-1] || math.IsInf(float64(r.found[n-1]), -1)) && !positive(i) {
			at := sort.Search(n, func(k int) bool { return s >= r.found[k] || math.IsInf(float64(r.found[k]), -1) })
			r.ahead[at]++
		}
	}
	r.rank(n)
}

// rank counts a query whose n positives have r.ahead.
func (r *Retrieval) rank(n int) {
	r.several = r.several || n > 1
	r.ranks = append(r.ranks, 1+r.ahead[0])
	wrong, average, within := 0, 0.0, 0
	for k, ahead := range r.ahead {
		wrong += ahead
		place := wrong + k + 1
		if place <= precisionDepth {
			average += float64(k+1) / float64(place)
		}
		if place <= n {
			within++
		}
	}
	r.average = append(r.average, average/float64(min(n, precisionDepth)))
	r.atCount = append(r.atCount, float64(within)/float64(n))
}

// Ranks returns the ranks of the queries in the order of Add, without those skipped.
func (r *Retrieval) Ranks() []int { return r.ranks }

// Skipped returns the number of queries that had no positive.
func (r *Retrieval) Skipped() int { return r.skipped }

// Metrics returns R@1, R@5 and R@10, then mean_rank and median_rank. R@k is the share of queries with a positive among the first
// k candidates; it is left out where there are fewer than k. Where a query has several positives, three more follow, of all
// queries: mAP@10, the mean of Σ_{k ≤ 10, k-th is a positive} (positives among the first k)/k over min(P, 10), P being a query's
// positives (Manning et al. 2008, §8.4, cut off at 10); R-precision, the mean share of positives among the first P; and MRR, the mean
// of 1/rank. Candidates of other groups with the same score rank before positives here too. Metrics returns nothing without queries.
func (r *Retrieval) Metrics() []Value {
	n := len(r.ranks)
	if n == 0 {
		return nil
	}
	var values []Value
	for _, k := range recallAt {
		if len(r.groups) < k {
			continue
		}
		found := 0
		for _, rank := range r.ranks {
			if rank <= k {
				found++
			}
		}
		values = append(values, Value{recallName(k), float64(found) / float64(n)})
	}
	sorted := slices.Clone(r.ranks)
	slices.Sort(sorted)
	sum := 0.0
	for _, rank := range sorted {
		sum += float64(rank)
	}
	median := float64(sorted[(n-1)/2]+sorted[n/2]) / 2
	values = append(values, Value{meanRank, sum / float64(n)}, Value{medianRank, median})
	if !r.several {
		return values
	}
	reciprocal := 0.0
	for _, rank := range sorted {
		reciprocal += 1 / float64(rank)
	}
	return append(values, Value{meanAveragePrecision, mean(r.average)}, Value{rPrecision, mean(r.atCount)}, Value{reciprocalRank, reciprocal / float64(n)})
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
