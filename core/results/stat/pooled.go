package stat

import (
	"math"
	"slices"
)

// Blocks holds cells that ran under the same seeds, with what all of them say of the noise.
type Blocks struct {
	Seeds []uint64  // that all cells have with a finite value, ascending
	Mean  []float64 // of each cell over these
	MS    float64   // mean square of the residual: of what neither cell nor seed explains
	DF    int       // of it: (cells−1)(seeds−1)
}

// NewBlocks fits value = cell + seed + ε to the seeds that all cells have (a randomised complete block design; Montgomery
// 2017, §4.1). It takes for granted that seeds spread every cell alike, and in return the noise of one difference is
// known from all cells: with two cells it is the paired t test, with five and three seeds it has 8 degrees of freedom
// where a pair has 2.
func NewBlocks(cells []BySeed) Blocks {
	b := Blocks{MS: math.NaN()}
	if len(cells) == 0 {
		return b
	}
	for seed := range cells[0] {
		everywhere := true
		for _, c := range cells {
			v, has := c[seed]
			everywhere = everywhere && has && finite(v)
		}
		if everywhere {
			b.Seeds = append(b.Seeds, seed)
		}
	}
	slices.Sort(b.Seeds)
	n, k := len(b.Seeds), len(cells)
	b.DF = max(0, (k-1)*(n-1))
	b.Mean = make([]float64, k)
	bySeed, grand, largest := make([]float64, n), 0.0, 0.0
	for i, c := range cells {
		for s, seed := range b.Seeds {
			v := c[seed]
			b.Mean[i] += v / float64(n)
			bySeed[s] += v / float64(k)
			grand += v / float64(n*k)
			largest = max(largest, math.Abs(v))
		}
	}
	if b.DF == 0 {
		return b
	}
	sum := 0.0
	for i, c := range cells {
		for s, seed := range b.Seeds {
			sum += square(c[seed] - b.Mean[i] - bySeed[s] + grand)
		}
	}
	if sum <= square(1e-12*largest)*float64(n*k) { // what rounding leaves
		sum = 0
	}
	b.MS = sum / float64(b.DF)
	return b
}

// Pooled makes of c, the comparison of cell i with cell j by pairs, that by all blocks: Student's t with the residual's
// mean square and its degrees of freedom. Where the residual has no spread, or there is only one pair, c stays.
func (b Blocks) Pooled(c Comparison, i, j int) Comparison {
	n := float64(len(b.Seeds))
	if b.DF < 1 || b.MS == 0 || len(b.Seeds) < 2 {
		return c
	}
	c.N, c.Delta = len(b.Seeds), difference(b.Mean[i], b.Mean[j])
	err := math.Sqrt(2 * b.MS / n)
	df := float64(b.DF)
	half := quantileT(c.Interval.Level, df) * err
	c.Interval = Interval{c.Delta - half, c.Delta + half, c.Interval.Level, PooledStudentT}
	c.Test, c.MinP, c.P, c.DF = PooledT, 0, tailT(c.Delta/err, df), df
	return c
}
