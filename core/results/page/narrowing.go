package page

import (
	"cmp"
	"math"
	"slices"
	"time"

	"tandem/core/results/ablation"
	"tandem/core/results/stat"
)

// Narrowing says how a variant's difference from the baseline and its interval went while pairs of seeds came in.
type Narrowing struct {
	Variant string
	Points  []Narrowed // after one pair, two pairs, …
}

// Narrowed is a difference over the first pairs of seeds. Low and High are NaN where there is no interval: of one pair, and of a variant
// whose difference the table gives none.
type Narrowed struct {
	Pairs            int
	Seed             int64 // of the pair that came last
	Delta, Low, High float64
}

// narrowing compares the drawn variants with the baseline over ever more pairs of seeds, in the order in which the later run of each pair
// ended.
func narrowing(p *Page) (all []Narrowing) {
	t := p.Table
	at := slices.IndexFunc(t.Rows, func(r ablation.Row) bool { return r.Role == ablation.IsBaseline })
	if at < 0 {
		return nil
	}
	type cell struct {
		variant string
		seed    int64
	}
	ended := map[cell]time.Time{}
	for _, r := range p.Runs {
		if r.detail.EndedAt != nil {
			when, _ := time.Parse(time.RFC3339, *r.detail.EndedAt)
			ended[cell{r.Variant, r.Seed}] = when
		}
	}
	base := t.Rows[at]
	for _, r := range t.Rows {
		c := r.Columns[0]
		if !slices.Contains(p.Drawn, r.Variant) || c.Comparison == nil || c.Comparison.N == 0 {
			continue
		}
		var seeds []int64
		for seed := range c.Values {
			if _, both := base.Columns[0].Values[seed]; both {
				seeds = append(seeds, seed)
			}
		}
		complete := func(seed int64) time.Time {
			v, b := ended[cell{r.Variant, seed}], ended[cell{base.Variant, seed}]
			if v.After(b) {
				return v
			}
			return b
		}
		slices.SortFunc(seeds, func(x, y int64) int { return cmp.Or(complete(x).Compare(complete(y)), cmp.Compare(x, y)) })
		n := Narrowing{Variant: r.Variant}
		has := c.Comparison.Interval.Method != stat.NoMethod
		variant, baseline := stat.BySeed{}, stat.BySeed{}
		for _, seed := range seeds {
			variant[uint64(seed)], baseline[uint64(seed)] = c.Values[seed], base.Columns[0].Values[seed]
			of := stat.Compare(variant, baseline, t.Level, 0)
			if of.N < len(n.Points)+1 { // a value that is not finite
				continue
			}
			point := Narrowed{of.N, seed, of.Delta, of.Interval.Low, of.Interval.High}
			if !has {
				point.Low, point.High = math.NaN(), math.NaN()
			}
			n.Points = append(n.Points, point)
		}
		all = append(all, n)
	}
	return all
}

// Text writes the difference with its interval.
func (n Narrowed) Text(metric string) string {
	text := delta(metric, n.Delta)
	if !math.IsNaN(n.Low) {
		text += " [" + delta(metric, n.Low) + ", " + delta(metric, n.High) + "]"
	}
	return text
}
