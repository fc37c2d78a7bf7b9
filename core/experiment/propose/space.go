// Package propose suggests the next point of a search from the results of those before: points spread evenly first, then those that a
// Gaussian process expects most of among candidates near the good ones. It is pure arithmetic; equal results give equal suggestions.
package propose

import (
	"math"
	"slices"
	"strconv"

	"tandem/core/random"
)

// Space lists the dimensions that a search varies, those that others depend on before these.
type Space []Dim

// Dim describes one dimension: a range of numbers, or a choice.
type Dim struct {
	Name    string
	Choices int // how many there are, by index; 0: a range
	// Places says where the choices lie in [0, 1], so that near ones are taken to be alike; nil: each differs from each.
	Places    []float64
	Low, High float64
	Log       bool // even in the logarithm; Low is more than 0
	Whole     bool // whole numbers, both bounds included
	// Applies reports whether a point has this dimension, by its dimensions before; nil: always.
	Applies func(Point) bool
}

// Point holds a value for each dimension of a space: a number, or the index of a choice. NaN where the dimension does not apply.
type Point []float64

// Equal reports whether two points are the same.
func (p Point) Equal(q Point) bool {
	return slices.EqualFunc(p, q, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
}

// applies reports whether dimension i is part of a point whose dimensions before i are there.
func (s Space) applies(i int, p Point) bool { return s[i].Applies == nil || s[i].Applies(p) }

// Random returns point n of a sequence. Each of its values depends on the seed, the dimension's name and n alone.
func (s Space) Random(seed uint64, n int) Point {
	return s.build(func(d Dim) float64 { return d.at(random.New(seed, "search "+d.Name, n).Float64()) })
}

// build makes a point of the dimensions that apply.
func (s Space) build(value func(Dim) float64) Point {
	p := s.nowhere()
	for i, d := range s {
		if s.applies(i, p) {
			p[i] = value(d)
		}
	}
	return p
}

// nowhere returns a point without dimensions.
func (s Space) nowhere() Point {
	p := make(Point, len(s))
	for i := range p {
		p[i] = math.NaN()
	}
	return p
}

// bounds returns where the unit interval begins and ends, in the logarithm with Log. A whole number stands in the middle of
// an interval of its own.
func (d Dim) bounds() (low, high float64) {
	low, high = d.Low, d.High
	if d.Whole {
		low, high = low-.5, high+.5
	}
	if d.Log {
		return math.Log(low), math.Log(high)
	}
	return low, high
}

// at returns the value at u in [0, 1]. A fraction has four digits, so that it can be typed and is read back the same.
func (d Dim) at(u float64) float64 {
	if d.Choices > 0 {
		return math.Min(math.Floor(u*float64(d.Choices)), float64(d.Choices-1))
	}
	low, high := d.bounds()
	v := low + float64((high-low)*u)
	if d.Log {
		v = math.Exp(v)
	}
	if d.Whole {
		v = math.Round(v)
	} else {
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	}
	return math.Max(d.Low, math.Min(d.High, v))
}

// unit returns the place of a value of a range in [0, 1].
func (d Dim) unit(v float64) float64 {
	low, high := d.bounds()
	if d.Log {
		v = math.Log(v)
	}
	return (v - low) / (high - low)
}
