// Package results holds the words that all rooms of results share: what an experiment varies, what fills a cell of it, and how a
// metric went. core/results/metric knows the metrics themselves.
package results

import "sort"

// Factor names what an experiment varies, with its levels in the order of the spec. A factor that is drawn from a range has no
// levels. One that is Conditional applies in some cells only; the others have no level of it.
type Factor struct {
	Name        string   `json:"name"`
	Levels      []string `json:"levels"`
	Conditional bool     `json:"conditional,omitempty"`
}

// The phases of a search.
const (
	Searched   = "search"  // a point that it tried
	Confirming = "confirm" // its winner or the baseline, under fresh seeds
)

// Cell holds a variant of an experiment under a seed, with the run that fills it or is meant to.
type Cell struct {
	Variant string            `json:"variant"`
	Seed    int64             `json:"seed"`
	Levels  map[string]string `json:"levels"` // by factor
	Planned bool              `json:"planned"`
	Done    bool              `json:"done"`             // the run is done and may be compared with others
	RunID   string            `json:"run_id,omitempty"` // "": never run
	Status  string            `json:"status,omitempty"` // of the run; "" when there is none
	Note    string            `json:"note,omitempty"`   // why it failed, was stopped or is tainted
	Phase   string            `json:"phase,omitempty"`  // of a search: Searched or Confirming
}

// Point holds a metric's value at a step; NaN where it was that.
type Point struct {
	Step  int
	Value float64
}

// Curve holds a metric of one run by step, as far as it is known.
type Curve []Point

// UpTo returns the points that were there at step.
func (c Curve) UpTo(step int) Curve {
	return c[:sort.Search(len(c), func(i int) bool { return c[i].Step > step })]
}

// HasReached reports whether c goes to step or beyond.
func (c Curve) HasReached(step int) bool { return len(c) > 0 && c[len(c)-1].Step >= step }
