package stat

import (
	"fmt"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results"
)

const maxFactors = 8 // the terms are 2ᶠ−1

// grid holds a balanced design: a value for each cell and seed, and their means.
type grid struct {
	factors  []results.Factor
	value    []float64 // [cells·seeds], the last factor fastest among cells
	mean     []float64 // [cells]
	seedMean []float64 // [seeds], in ascending order of the seeds
	grand    float64
}

func newGrid(factors []results.Factor, observations []Observation) (*grid, error) {
	cells, err := countCells(factors)
	if err != nil {
		return nil, err
	}
	var seeds []uint64
	for _, o := range observations {
		if i, found := slices.BinarySearch(seeds, o.Seed); !found {
			seeds = slices.Insert(seeds, i, o.Seed)
		}
	}
	if len(seeds) == 0 {
		return nil, fault.New(fault.Invalid, "anova: no observations").WithHint("run the grid's cells first")
	}
	g := &grid{factors: factors}
	values := map[[2]int]float64{} // by cell and seed; there may be far more cells than observations
	for _, o := range observations {
		c, err := g.cellOf(o)
		if err != nil {
			return nil, err
		}
		s, _ := slices.BinarySearch(seeds, o.Seed)
		if _, twice := values[[2]int{c, s}]; twice {
			return nil, fault.New(fault.Invalid, "anova: %s has seed %d twice", g.name(c), o.Seed).WithHint("give each run once")
		}
		values[[2]int{c, s}] = o.Value
	}
	for c := range cells {
		for s, seed := range seeds {
			v, found := values[[2]int{c, s}]
			if !found {
				return nil, fault.New(fault.Invalid, "anova: unbalanced: %s lacks seed %d", g.name(c), seed).
					WithHint("run the missing cells, or leave out the level or the seed that is not everywhere")
			}
			g.value = append(g.value, v)
		}
	}
	g.mean, g.seedMean = make([]float64, cells), make([]float64, len(seeds))
	for i, v := range g.value {
		g.mean[i/len(seeds)] += v / float64(len(seeds))
		g.seedMean[i%len(seeds)] += v / float64(cells)
		g.grand += v / float64(len(g.value))
	}
	return g, nil
}

// countCells returns the number of combinations of levels.
func countCells(factors []results.Factor) (int, error) {
	if len(factors) == 0 || len(factors) > maxFactors {
		return 0, fault.New(fault.Invalid, "anova: %d factors, want 1 to %d", len(factors), maxFactors).
			WithHint("analyse fewer factors at a time")
	}
	cells := 1
	for _, f := range factors {
		if len(f.Levels) < 2 {
			return 0, fault.New(fault.Invalid, "anova: factor %s has %d %s, want 2 at least", f.Name, len(f.Levels), plural(len(f.Levels), "level")).
				WithHint("leave the factor out: what does not vary has no effect")
		}
		cells *= len(f.Levels)
	}
	return cells, nil
}

// cellOf returns the index of the cell that an observation belongs to.
func (g *grid) cellOf(o Observation) (int, error) {
	if len(o.Levels) != len(g.factors) {
		return 0, fault.New(fault.Invalid, "anova: an observation of seed %d has %d levels, want %d", o.Seed, len(o.Levels), len(g.factors)).
			WithHint("give one level for each factor")
	}
	c := 0
	for i, f := range g.factors {
		if o.Levels[i] < 0 || o.Levels[i] >= len(f.Levels) {
			return 0, fault.New(fault.Invalid, "anova: factor %s has no level %d, only 0 to %d", f.Name, o.Levels[i], len(f.Levels)-1).
				WithHint("give the level's index")
		}
		c = c*len(f.Levels) + o.Levels[i]
	}
	if !finite(o.Value) {
		return 0, fault.New(fault.Numeric, "anova: %s has %v for seed %d", g.name(c), o.Value, o.Seed).
			WithHint("leave the level or the seed out, or train it without diverging")
	}
	return c, nil
}

// name of a cell: "pool=attn × width=64".
func (g *grid) name(cell int) string {
	parts := make([]string, len(g.factors))
	for i := len(g.factors) - 1; i >= 0; i-- {
		f := g.factors[i]
		parts[i] = fmt.Sprintf("%s=%s", f.Name, f.Levels[cell%len(f.Levels)])
		cell /= len(f.Levels)
	}
	return strings.Join(parts, " × ")
}

// margins returns a mean for each set of factors, which is a bit mask, and each cell. It is over all cells that share the
// cell's levels of those factors: the grand mean for no factor, the cell's own for all of them.
func (g *grid) margins() [][]float64 {
	all := make([][]float64, 1<<len(g.factors))
	for mask := range all {
		sums, counts := make([]float64, len(g.mean)), make([]float64, len(g.mean))
		at := make([]int, len(g.mean))
		for c, m := range g.mean {
			at[c] = g.project(c, mask)
			sums[at[c]] += m
			counts[at[c]]++
		}
		all[mask] = make([]float64, len(g.mean))
		for c, i := range at {
			all[mask][c] = sums[i] / counts[i]
		}
	}
	return all
}

// project returns the cell whose factors outside mask are set to their first levels.
func (g *grid) project(cell, mask int) int {
	projected, stride := 0, 1
	for i := len(g.factors) - 1; i >= 0; i-- {
		n := len(g.factors[i].Levels)
		if mask>>i&1 == 1 {
			projected += cell % n * stride
		}
		cell /= n
		stride *= n
	}
	return projected
}
