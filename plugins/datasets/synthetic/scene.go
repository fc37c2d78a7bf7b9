package main

import (
	"context"
	"math"
	"slices"

	"tandem/core/fault"
	"tandem/core/random"
)

// kind is some things of one sort. Its fields are positions in the lists of Config.
type kind struct {
	colour, shape, size int
	count               int // from 1
}

// scene is what a picture shows: one kind of things or two, the first in a relation to the second.
type scene struct {
	number   int
	kinds    [2]kind
	two      bool
	relation int // position in Relations
}

// world draws scenes.
type world struct {
	Config
	held map[[2]int]bool // combinations of colour and shape that training does not have
}

func newWorld(c Config) *world {
	w := &world{Config: c, held: map[[2]int]bool{}}
	if c.Holdout != "combinations" {
		return w
	}
	// A diagonal of the table of colours and shapes leaves every colour and every shape to training, as long as one of
	// each row and column stays.
	most := max(len(c.Colours), len(c.Shapes)) - 1
	diagonals := min(most, max(1, int(math.Round(c.TestFraction*float64(most+1)))))
	order := random.New(c.SceneSeed, "combinations").Perm(most + 1)
	for colour := range c.Colours {
		for shape := range c.Shapes {
			if slices.Contains(order[:diagonals], (colour+shape)%(most+1)) {
				w.held[[2]int{colour, shape}] = true
			}
		}
	}
	return w
}

// scene draws the scene of a number. The two kinds differ in colour and in shape.
func (w *world) scene(number int) scene {
	r := random.New(w.SceneSeed, "scene", number)
	draw := func() kind {
		return kind{colour: r.IntN(len(w.Colours)), shape: r.IntN(len(w.Shapes)), size: r.IntN(len(w.Sizes)), count: 1 + r.IntN(w.MaxCount)}
	}
	s := scene{number: number}
	s.two = w.Groups[r.IntN(len(w.Groups))] == 2
	s.kinds[0] = draw()
	if !s.two {
		return s
	}
	first, second := s.kinds[0], draw()
	second.colour = (first.colour + 1 + r.IntN(len(w.Colours)-1)) % len(w.Colours)
	second.shape = (first.shape + 1 + r.IntN(len(w.Shapes)-1)) % len(w.Shapes)
	s.kinds[1], s.relation = second, r.IntN(len(w.Relations))
	return s
}

// members returns the numbers of the split's scenes.
func (w *world) members(ctx context.Context) ([]int32, error) {
	var kept []int32
	for i := range w.Samples {
		if i%10_000 == 0 && ctx.Err() != nil {
			return nil, fault.New(fault.Canceled, "%w", ctx.Err())
		}
		if w.Split == "all" || w.isTest(i) == (w.Split == "test") {
			kept = append(kept, int32(i))
		}
	}
	return kept, nil
}

// isTest reports whether a scene is held out.
func (w *world) isTest(number int) bool {
	if w.Holdout == "scenes" {
		return random.New(w.SceneSeed, "split", number).Float64() < w.TestFraction
	}
	s := w.scene(number)
	has := func(k kind) bool { return w.held[[2]int{k.colour, k.shape}] }
	return has(s.kinds[0]) || s.two && has(s.kinds[1])
}
