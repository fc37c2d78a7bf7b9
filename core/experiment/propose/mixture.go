package propose

import (
	"math"

	"tandem/core/random"
)

// A mixture is a Parzen estimate of the density of points: a kernel around each of them, and one that covers the whole space,
// all of the same weight. A kernel is a product over dimensions: a normal distribution cut to the range, or a choice
// that is kept most of the time. Where the point of a kernel lacks a dimension, that dimension's prior stands in.
type mixture struct {
	space  Space
	points []Point // nil: the prior
	width  []float64
	loyal  []float64 // of choices: the probability of keeping it rather than drawing any
}

const magnitude = .2 // width of a kernel for one point, as a share of the range

// newMixture estimates the density of points. Its kernels are narrower the more there are: Scott's exponent with the magnitude
// of the range (Watanabe 2023, "Tree-structured Parzen estimator: understanding its algorithm components", §3.3).
func newMixture(s Space, points []Point) mixture {
	m := mixture{space: s, points: append([]Point{nil}, points...), width: make([]float64, len(s)), loyal: make([]float64, len(s))}
	for i, d := range s {
		n := 0
		for _, p := range points {
			if !math.IsNaN(p[i]) {
				n++
			}
		}
		m.width[i] = math.Max(magnitude*math.Pow(float64(n+1), -1/float64(len(s)+4)), 1/math.Min(100, float64(n+2)))
		m.loyal[i] = float64(n+1) / float64(n+1+d.Choices)
	}
	return m
}

// draw returns a point of the mixture.
func (m mixture) draw(s *random.Stream) Point {
	around := m.points[s.IntN(len(m.points))]
	p := m.space.nowhere()
	for i, d := range m.space {
		if !m.space.applies(i, p) {
			continue
		}
		if around == nil || math.IsNaN(around[i]) {
			p[i] = d.at(s.Float64())
		} else if d.Choices > 0 {
			p[i] = around[i]
			if s.Float64() > m.loyal[i] {
				p[i] = d.at(s.Float64())
			}
		} else {
			p[i] = d.at(drawNormal(s, d.unit(around[i]), m.width[i]))
		}
	}
	return p
}

// phi is the distribution function of the standard normal distribution.
func phi(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// quantile is the inverse of phi.
func quantile(q float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*q) }

// drawNormal draws from a normal distribution cut to [0, 1].
func drawNormal(s *random.Stream, mean, width float64) float64 {
	low := phi(-mean / width)
	u := low + s.Float64()*(phi((1-mean)/width)-low)
	return math.Max(0, math.Min(1, mean+width*quantile(u)))
}
