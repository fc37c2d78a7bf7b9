package ablation

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// Search says where a search stands. The rows that are IsTrial are its points; the winner and the baseline under fresh seeds are
// rows like those of any table, and only they are compared.
type Search struct {
	Tried, Of int     // points; Of is 0 when only time ends it
	Hours     float64 // that its trials may take together; 0: no such limit
	Over      bool    // no further point is to come
	Lost      int     // points without a value, which count as bad
	Best      string  // the point that is best by what the search goes by; "" without one
	Reached   float64 // its value of the deciding metric in the search; NaN without one
	// Fresh holds the winner's values of the deciding metric under fresh seeds; Shrunk is by how much their mean is worse than
	// Reached, NaN without any.
	Fresh  stat.Summary
	Shrunk float64
	Winner string // the row that confirms Best; "": none
	Points []Point
}

// Point names a point of a search, with the best value up to it.
type Point struct {
	Variant string
	Value   float64 // of the deciding metric, mean over its seeds; NaN without one
	BestNow float64 // the best value of it and those before; NaN without one
}

// search fills Table.Search, and says what the best of many is worth.
func (a *analysis) search() {
	s := a.e.Search
	if s == nil {
		return
	}
	s.Reached, s.Shrunk, s.Fresh.Mean = math.NaN(), math.NaN(), math.NaN()
	a.Table.Search = s
	down := a.Metrics[0].Direction == metric.Down
	best := math.NaN()
	var levels map[string]string
	for _, r := range a.Rows {
		if r.Role != IsTrial {
			continue
		}
		v := r.Columns[0].Summary.Mean
		if r.Lost > 0 || r.Waiting > 0 {
			v = math.NaN()
		}
		if r.Lost > 0 {
			s.Lost++
		}
		if !math.IsNaN(v) && (math.IsNaN(best) || v > best != down && v != best) {
			best = v
		}
		s.Tried++
		s.Points = append(s.Points, Point{r.Variant, v, best})
		if r.Rank == 1 && s.Best == "" {
			s.Best, s.Reached, levels = r.Variant, r.Columns[0].Summary.Mean, r.Levels
		}
	}
	s.Over = s.Over || s.Of > 0 && s.Tried >= s.Of
	for _, r := range a.Rows {
		if r.Role == IsVariant && s.Best != "" {
			s.Winner, s.Fresh, s.Over = r.Variant, r.Columns[0].Summary, true
			if !maps.Equal(r.Levels, levels) { // tried under more seeds since
				a.note("%s confirms another point than %s, the best so far.", r.Variant, s.Best)
				return
			}
			s.Shrunk = s.Reached - r.Columns[0].Summary.Mean
			if down {
				s.Shrunk = -s.Shrunk
			}
		}
	}
}

// byPhase gives the points of a search the role IsTrial.
func (a *analysis) byPhase() {
	for i := range a.Rows {
		if r := &a.Rows[i]; a.cells[r.Variant][0].Phase == results.Searched {
			r.Role = IsTrial
		}
	}
	slices.SortStableFunc(a.Rows, func(x, y Row) int { return cmp.Compare(roleOrder[x.Role], roleOrder[y.Role]) })
}

// roleOrder is the order of the rows.
var roleOrder = map[Role]int{IsBaseline: 0, IsVariant: 1, IsTrial: 2, IsRepeat: 3}
