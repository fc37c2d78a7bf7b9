package graph

import (
	"math"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Batch normalisation over several ranks, whose samples count as one batch. A rank computes mean m, biased variance v and
// number of rows n of its own, in two passes over its rows, and the ranks add up n, n·m and n·(v + m²) in float64:
//
//	mean = Σ n·m / Σ n,  variance = Σ n·(v + m²) / Σ n − mean²
//
// That is the combination of Chan, Golub and LeVeque (1979, "Updating formulae and a pairwise algorithm for computing
// sample variances", eq. 1.5) in one exchange instead of two. The difference loses 2⁻⁵³·mean²/variance of the variance,
// less than x as float32 has lost already, whose own rounding is 2⁻²⁴ of the mean; what a rank rounds of m is not lost,
// as both terms have it.
//
// The backward pass is that of the batch: with g = dL/dy, x̂ the normalised rows and sums over the rows of all ranks,
//
//	dx = γ/σ·g − γ/σ·(Σg + x̂·Σ(g·x̂)) / Σn
//
// Its first term and the rank's sums, which are dβ and dγ, come from the kernel of fixed statistics. The second is
// affine in x̂ and comes from the kernel of the forward pass, with factors made of the sums.

// syncBatchNorm is BatchNorm in training; stats [2, C] are the rank's own.
func (g *Graph) syncBatchNorm(x, stats, gamma, beta, mean, variance *Node, momentum, eps float64, act device.Activation) *Node {
	rows, c := x.rows(), x.Dim(-1)
	whole := g.apply(op{name: "sync_stats", shape: []int{2, c}, part: noPart, host: syncStats{g.options.Sum, rows, c},
		args: []device.Arg{{Name: "stats", Len: 2 * c}, {Name: "whole", Len: 2 * c, Out: true}, {Name: "moving", Len: 2 * c, Out: true}}}, stats)
	g.effects = append(g.effects, effect{scope: g.scopePath(), value: part(whole, 1, 2, c), targets: []*Node{mean, variance},
		kernel: device.RunningStats{Rows: 1, C: c, Momentum: momentum}}) // of one row it takes the variance as it is
	return normed{x: x, stats: whole, gamma: gamma, beta: beta, training: true, eps: eps}.apply(nil, act)
}

// throughStatistics gives the part of x's gradient that flows through the statistics of the whole; dgamma and dbeta are this
// rank's.
func (g *Graph) throughStatistics(x, stats, gamma, dgamma, dbeta *Node, eps float64) *Node {
	rows, c := x.rows(), x.Dim(-1)
	factor := g.apply(op{name: "sync_stats.back", shape: []int{c}, part: noPart, host: syncStatsBack{g.options.Sum, rows, c, eps},
		args: []device.Arg{{Name: "stats", Len: 2 * c}, {Name: "gamma", Len: c}, {Name: "dgamma", Len: c}, {Name: "dbeta", Len: c},
			{Name: "factor", Len: c, Out: true}, {Name: "shift", Len: c, Out: true}}}, stats, gamma, dgamma, dbeta)
	return g.apply(op{name: "batch_norm.back", shape: x.shape, part: noPart,
		kernel: device.BatchNorm{Rows: rows, C: c, Eps: eps}}, x, stats, factor, part(factor, 1, c))
}

// syncStats computes the statistics of all ranks' rows. Args: stats [2, C] of this rank → stats [2, C] of the whole, and the
// same with the unbiased variance.
type syncStats struct {
	add     func([]float64) error
	rows, c int
}

func (s syncStats) run(backend device.Backend, in, out []device.Buffer) error {
	return sumAlone(s, backend, in, out)
}

func (s syncStats) sum(values []float64) error { return s.add(values) }

func (s syncStats) values(backend device.Backend, in []device.Buffer) ([]float64, error) {
	own, values := make([]float64, 2*s.c), make([]float64, 2*s.c+1)
	if err := device.ReadDoubles(backend, own, in[0]); err != nil {
		return nil, err
	}
	n := float64(s.rows)
	for i, m := range own[:s.c] {
		values[i], values[s.c+i] = n*m, n*(own[s.c+i]+m*m)
	}
	values[2*s.c] = n
	return values, nil
}

func (s syncStats) finish(backend device.Backend, sums []float64, _, out []device.Buffer) error {
	n := sums[2*s.c]
	if !(n >= 2) {
		return fault.New(fault.Internal, "batch normalisation over all ranks of %v rows", n).WithOp("graph")
	}
	whole, moving := make([]float64, 2*s.c), make([]float64, 2*s.c)
	for i := range s.c {
		mean := sums[i] / n
		variance := max(0, sums[s.c+i]/n-mean*mean)
		whole[i], whole[s.c+i] = mean, variance
		moving[i], moving[s.c+i] = mean, variance*n/(n-1)
	}
	device.WriteDoubles(backend, out[0], whole)
	device.WriteDoubles(backend, out[1], moving)
	return device.Err(backend)
}

// syncStatsBack computes with which factor and shift of x̂ the gradient flows through the statistics. Args: stats [2, C] of the
// whole, γ [C], dγ [C] and dβ [C] of this rank → factor [C], shift [C].
type syncStatsBack struct {
	add     func([]float64) error
	rows, c int
	eps     float64
}

func (s syncStatsBack) run(backend device.Backend, in, out []device.Buffer) error {
	return sumAlone(s, backend, in, out)
}

func (s syncStatsBack) sum(values []float64) error { return s.add(values) }

func (s syncStatsBack) values(backend device.Backend, in []device.Buffer) ([]float64, error) {
	values := make([]float64, 2*s.c+1)
	values[2*s.c] = float64(s.rows)
	if err := device.ReadDoubles(backend, values[:s.c], in[2]); err != nil {
		return nil, err
	}
	return values, device.ReadDoubles(backend, values[s.c:2*s.c], in[3])
}

func (s syncStatsBack) finish(backend device.Backend, sums []float64, in, out []device.Buffer) error {
	stats, gamma := make([]float64, 2*s.c), make([]float64, s.c)
	if err := device.ReadDoubles(backend, stats, in[0]); err != nil {
		return err
	}
	if err := device.ReadDoubles(backend, gamma, in[1]); err != nil {
		return err
	}
	n := sums[2*s.c]
	factor, shift := make([]float64, s.c), make([]float64, s.c)
	for i, g := range gamma {
		scale := -g / math.Sqrt(stats[s.c+i]+s.eps) / n
		factor[i], shift[i] = sums[i]*scale, sums[s.c+i]*scale
	}
	device.WriteDoubles(backend, out[0], factor)
	device.WriteDoubles(backend, out[1], shift)
	return device.Err(backend)
}
