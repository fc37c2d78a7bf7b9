package main

import (
	"math"

	"tandem/core/media/vision"
	"tandem/core/random"
)

// palette gives the colours.
var palette = map[string][3]float64{
	"red": {214, 40, 40}, "green": {46, 140, 60}, "blue": {40, 80, 200}, "yellow": {240, 205, 40}, "purple": {128, 50, 160}, "orange": {243, 130, 30},
	"black": {20, 20, 20}, "white": {255, 255, 255}, "pink": {250, 150, 190}, "brown": {120, 75, 40}, "grey": {130, 130, 130}, "cyan": {50, 190, 210},
}

// outlines tell whether a point is inside a shape of radius 1 about the origin; y points down.
var outlines = map[string]func(x, y float64) bool{
	"circle":   func(x, y float64) bool { return x*x+y*y <= 1 },
	"square":   func(x, y float64) bool { return math.Abs(x) <= .85 && math.Abs(y) <= .85 },
	"triangle": func(x, y float64) bool { return y <= .8 && y >= -1 && math.Abs(x) <= (y+1)*.55 },
	"cross": func(x, y float64) bool {
		return math.Abs(x) <= .33 && math.Abs(y) <= 1 || math.Abs(y) <= .33 && math.Abs(x) <= 1
	},
	"diamond": func(x, y float64) bool { return math.Abs(x)*1.25+math.Abs(y) <= 1 },
	"ring":    func(x, y float64) bool { d := x*x + y*y; return d <= 1 && d >= .3 },
	"bar":     func(x, y float64) bool { return math.Abs(x) <= 1 && math.Abs(y) <= .35 },
	"star": func(x, y float64) bool {
		angle, d := math.Atan2(x, -y), math.Hypot(x, y)
		const fifth = 2 * math.Pi / 5
		at := math.Abs(math.Mod(angle+4*fifth+fifth/2, fifth) - fifth/2)
		return d*(1+1.5*at/(fifth/2)*.9) <= 1
	},
}

// radii of things, as shares of the picture's side.
var radii = map[string]float64{"small": .075, "large": .135}

// area is a part of the picture, in shares of its side.
type area struct{ x, y, w, h float64 }

// draw makes the picture of a scene, side × side pixels.
func (w *world) draw(s scene, side int) vision.Picture {
	p := vision.NewPicture(side, side)
	for i := range 3 {
		p.Pix[i] = uint8(w.Background[i])
	}
	for done := 3; done < len(p.Pix); done *= 2 {
		copy(p.Pix[done:], p.Pix[:done])
	}
	r := random.New(w.SceneSeed, "places", s.number)
	areas := []area{{0, 0, 1, 1}}
	if s.two {
		halves := map[string][2]area{
			"left of":  {{0, 0, .5, 1}, {.5, 0, .5, 1}},
			"right of": {{.5, 0, .5, 1}, {0, 0, .5, 1}},
			"above":    {{0, 0, 1, .5}, {0, .5, 1, .5}},
			"below":    {{0, .5, 1, .5}, {0, 0, 1, .5}},
		}[w.Relations[s.relation]]
		areas = halves[:]
	}
	for i, a := range areas {
		w.place(p, s.kinds[i], a, r)
	}
	if w.Noise > 0 {
		w.addNoise(p, random.New(w.SceneSeed, "noise", s.number))
	}
	return p
}

// place puts the things of a kind in the cells of a grid over an area, so that none overlap.
func (w *world) place(p vision.Picture, k kind, a area, r *random.Stream) {
	columns, rows := 2, 2
	switch {
	case k.count == 1:
		columns, rows = 1, 1
	case a.w < a.h && k.count < 4:
		columns, rows = 1, k.count
	case a.w > a.h && k.count < 4:
		columns, rows = k.count, 1
	}
	cw, ch := a.w/float64(columns), a.h/float64(rows)
	for _, cell := range r.Perm(columns * rows)[:k.count] {
		radius := min(radii[w.Sizes[k.size]]*r.Range(.9, 1.1), .46*cw, .46*ch)
		x := a.x + cw*float64(cell%columns) + r.Range(radius, cw-radius)
		y := a.y + ch*float64(cell/columns) + r.Range(radius, ch-radius)
		side := float64(p.W)
		fill(p, outlines[w.Shapes[k.shape]], palette[w.Colours[k.colour]], x*side, y*side, radius*side)
	}
}

// fine is the radius in pixels above which a pixel whose corners are all inside a shape, or all outside, is taken to be so whole.
const fine = 6

// fill paints a shape about a point, in pixels. Pixels that it covers in part are mixed by 4 × 4 points in them.
func fill(p vision.Picture, inside func(x, y float64) bool, colour [3]float64, x, y, radius float64) {
	const n = 4
	left, right := max(0, int(x-radius)-1), min(p.W-1, int(x+radius)+1)
	at := func(col, row float64) bool { return inside((col-x)/radius, (row-y)/radius) }
	corners := make([]bool, right-left+2) // of the row above, then of the row below
	for row := max(0, int(y-radius)-1); row <= min(p.H-1, int(y+radius)+1); row++ {
		line := p.Row(row)
		before, above := at(float64(left), float64(row+1)), corners[0]
		corners[0] = before
		for col := left; col <= right; col++ {
			below, aboveNext := at(float64(col+1), float64(row+1)), corners[col-left+1]
			corners[col-left+1] = below
			hits := 0
			switch whole := before && below && above && aboveNext; {
			case radius > fine && whole:
				hits = n * n
			case radius > fine && !before && !below && !above && !aboveNext:
			default:
				for k := range n * n {
					if at(float64(col)+(float64(k%n)+.5)/n, float64(row)+(float64(k/n)+.5)/n) {
						hits++
					}
				}
			}
			before, above = below, aboveNext
			if hits == 0 {
				continue
			}
			share := float64(hits) / (n * n)
			pixel := line[3*col : 3*col+3]
			for c := range pixel {
				pixel[c] = uint8(float64(pixel[c])*(1-share) + colour[c]*share + .5)
			}
		}
	}
}

// addNoise adds a sum of three uniform numbers, nearly normal, to every value.
func (w *world) addNoise(p vision.Picture, r *random.Stream) {
	scale := 2 * 255 * w.Noise // the sum of three has a standard deviation of a half
	for i, v := range p.Pix {
		x := r.Float64() + r.Float64() + r.Float64() - 1.5
		p.Pix[i] = uint8(max(0, min(255, math.Round(float64(v)+scale*x))))
	}
}
