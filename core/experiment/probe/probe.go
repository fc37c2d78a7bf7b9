// Package probe measures frozen features without any text: by a linear probe (Linear, Sweep), by their nearest neighbours (Nearest)
// and from a few examples of each class (Draw, Prototypes).
//
// It is arithmetic alone: no plugins, no SQL, no files. The same features give the same figures on any number of cores.
package probe

import (
	"slices"

	"gonum.org/v1/gonum/blas/blas64"

	"tandem/core/random"
)

// Examples holds features with their classes.
type Examples struct {
	Dim     int
	X       []float32 // [N, Dim], row-major
	Y       []int32   // [N], the class of each, 0 … Classes-1
	Classes int
}

// Len returns N.
func (e Examples) Len() int { return len(e.Y) }

// Row returns the features of example i.
func (e Examples) Row(i int) []float32 { return e.X[i*e.Dim : (i+1)*e.Dim] }

// At returns the examples at places, in their order.
func (e Examples) At(places []int) Examples {
	out := Examples{Dim: e.Dim, Classes: e.Classes, X: make([]float32, 0, len(places)*e.Dim), Y: make([]int32, 0, len(places))}
	for _, i := range places {
		out.X, out.Y = append(out.X, e.Row(i)...), append(out.Y, e.Y[i])
	}
	return out
}

// byClass returns the places of the examples of each class.
func (e Examples) byClass() [][]int {
	out := make([][]int, e.Classes)
	for i, y := range e.Y {
		out[y] = append(out[y], i)
	}
	return out
}

// Split holds out a share of the examples, class by class, so that both parts have the classes in the same proportions: of a
// class with n examples round(n·share), at least one of two and more, and none of a class with one. The order is drawn by seed.
func (e Examples) Split(share float64, seed uint64) (rest, held []int) {
	for class, places := range e.byClass() {
		n := int(float64(len(places))*share + .5)
		if len(places) > 1 {
			n = min(max(n, 1), len(places)-1)
		} else {
			n = 0
		}
		for at, k := range random.New(seed, "probe held out", class).Perm(len(places)) {
			if at < n {
				held = append(held, places[k])
			} else {
				rest = append(rest, places[k])
			}
		}
	}
	slices.Sort(rest)
	slices.Sort(held)
	return rest, held
}

// Draw returns the places of shots examples of each class, drawn by seed and draw: those of a draw with fewer shots are among
// them. Classes with fewer examples give all they have, and short counts these classes.
func (e Examples) Draw(shots, draw int, seed uint64) (places []int, short int) {
	for class, all := range e.byClass() {
		if len(all) < shots {
			short++
		}
		for _, k := range random.New(seed, "few-shot", draw, class).Perm(len(all))[:min(shots, len(all))] {
			places = append(places, all[k])
		}
	}
	return places, short
}

// wide returns the features in double precision, less the mean of each column, and the means.
func (e Examples) wide() (x blas64.General, mean []float64) {
	n, d := e.Len(), e.Dim
	x = blas64.General{Rows: n, Cols: d, Stride: d, Data: make([]float64, n*d)}
	mean = make([]float64, d)
	for i := range n {
		for j, v := range e.Row(i) {
			mean[j] += float64(v)
		}
	}
	for j := range mean {
		mean[j] /= float64(max(n, 1))
	}
	for i := range n {
		row := x.Data[i*d:]
		for j, v := range e.Row(i) {
			row[j] = float64(v) - mean[j]
		}
	}
	return x, mean
}
