package page

import (
	"cmp"
	"slices"
)

const (
	wholeMatrix = 16 // classes that a matrix has room for
	leastPer    = 5  // examples a class for which a matrix of the most confused is made
)

// Matrix counts labels (rows) against first guesses (columns) over all models of a side.
type Matrix struct {
	Classes []int       // of rows and columns; the last column of Share is of all other classes when Reduced
	Share   [][]float64 // of a row's predictions
	Counts  []int       // predictions of a row
	Reduced bool
}

// confuse makes the matrices: of all classes, or where they are many of those that are confused most, the same for all sides.
func confuse(o *Outcome) {
	counts := make([]map[[2]int]int, len(o.Sides))
	totals := map[[2]int]int{} // label, side → predictions
	labels := map[int]int{}    // label → examples
	for s, side := range o.Sides {
		counts[s] = map[[2]int]int{}
		for _, rows := range side.rows {
			for _, p := range rows {
				if p.Label >= 0 && guess(p) >= 0 {
					counts[s][[2]int{int(p.Label), guess(p)}]++
					totals[[2]int{int(p.Label), s}]++
				}
			}
		}
	}
	for _, p := range o.Sides[0].rows[0] {
		if p.Label >= 0 {
			labels[int(p.Label)]++
		}
	}
	var kept []int
	switch {
	case o.Classes <= wholeMatrix:
		for c := range o.Classes {
			kept = append(kept, c)
		}
	case o.Examples >= leastPer*max(1, len(labels)):
		kept = mostMixed(counts)
	}
	if len(kept) < 2 {
		return
	}
	for s := range o.Sides {
		m := &Matrix{Classes: kept, Reduced: o.Classes > len(kept)}
		for _, label := range kept {
			total := totals[[2]int{label, s}]
			row := make([]float64, 0, len(kept)+1)
			rest := total
			for _, g := range kept {
				n := counts[s][[2]int{label, g}]
				rest -= n
				row = append(row, share(n, total))
			}
			if m.Reduced {
				row = append(row, share(rest, total))
			}
			m.Share, m.Counts = append(m.Share, row), append(m.Counts, total)
		}
		o.Sides[s].Matrix = m
	}
}

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// mostMixed returns the classes of the pairs that are confused most, by id.
func mostMixed(counts []map[[2]int]int) []int {
	sum := map[[2]int]int{}
	for _, c := range counts {
		for pair, n := range c {
			if pair[0] != pair[1] {
				sum[[2]int{min(pair[0], pair[1]), max(pair[0], pair[1])}] += n
			}
		}
	}
	var order [][2]int
	for pair := range sum {
		order = append(order, pair)
	}
	slices.SortFunc(order, func(x, y [2]int) int {
		return cmp.Or(sum[y]-sum[x], x[0]-y[0], x[1]-y[1])
	})
	var kept []int
	for _, pair := range order {
		for _, c := range pair {
			if len(kept) < wholeMatrix-2 && !slices.Contains(kept, c) {
				kept = append(kept, c)
			}
		}
	}
	slices.Sort(kept)
	return kept
}

// mostConfused returns the pairs of label and wrong guess with the highest rates, summed over the sides.
func mostConfused(o *Outcome) []Pair {
	type key struct{ label, guess int }
	counts := map[key][]int{}
	totals := make([]map[int]int, len(o.Sides))
	for s, side := range o.Sides {
		totals[s] = map[int]int{}
		for _, rows := range side.rows {
			for _, p := range rows {
				if p.Label < 0 {
					continue
				}
				totals[s][int(p.Label)]++
				if g := guess(p); g >= 0 && !isRight(p) {
					k := key{int(p.Label), g}
					if counts[k] == nil {
						counts[k] = make([]int, len(o.Sides))
					}
					counts[k][s]++
				}
			}
		}
	}
	var all []Pair
	for k, n := range counts {
		p := Pair{Label: k.label, Guess: k.guess, Examples: totals[0][k.label] / len(o.Sides[0].rows)}
		for s := range o.Sides {
			p.Rates = append(p.Rates, share(n[s], totals[s][k.label]))
		}
		all = append(all, p)
	}
	weight := func(p Pair) (sum float64) {
		for _, r := range p.Rates {
			sum += r
		}
		return sum
	}
	slices.SortFunc(all, func(x, y Pair) int {
		return cmp.Or(cmp.Compare(weight(y), weight(x)), y.Examples-x.Examples, x.Label-y.Label, x.Guess-y.Guess)
	})
	return all[:min(mostPairs, len(all))]
}
