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

// logDensity returns the logarithm of the density at a point, in units of the space: 1 where points are spread evenly.
func (m mixture) logDensity(p Point) float64 {
	logs, most := make([]float64, len(m.points)), math.Inf(-1)
	for k, around := range m.points {
		for i, d := range m.space {
			if around == nil || math.IsNaN(p[i]) || math.IsNaN(around[i]) {
				continue
			}
			if d.Choices > 0 {
				density := 1 - m.loyal[i]
				if p[i] == around[i] {
					density += m.loyal[i] * float64(d.Choices)
				}
				logs[k] += math.Log(density)
				continue
			}
			mean, width := d.unit(around[i]), m.width[i]
			z := (d.unit(p[i]) - mean) / width
			logs[k] += -z*z/2 - math.Log(width*math.Sqrt(2*math.Pi)*inside(mean, width))
		}
		most = math.Max(most, logs[k])
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(logs)))
}

// inside returns the share of a normal distribution that lies in [0, 1].
func inside(mean, width float64) float64 { return phi((1-mean)/width) - phi(-mean/width) }

// phi is the distribution function of the standard normal distribution.
func phi(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// drawNormal draws from a normal distribution cut to [0, 1].
func drawNormal(s *random.Stream, mean, width float64) float64 {
	low := phi(-mean / width)
	u := low + s.Float64()*(phi((1-mean)/width)-low)
	return math.Max(0, math.Min(1, mean-width*math.Sqrt2*math.Erfcinv(2*u)))
}
