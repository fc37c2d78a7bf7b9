package main

import "tandem/core/engine/device/devicetest"

// copies follows the copies in bfloat16 that core/engine/device/cuda keeps. There are two; the one that was not used
// for longest is given up.
type copies struct {
	slot [2]struct {
		place      devicetest.Place
		rows, cols int
		turn       int
	}
	turn int
}

// summed reports whether the rows of a place were summed when it was rounded.
func (c *copies) summed(p devicetest.Place, rows, cols int) bool {
	for _, s := range c.slot {
		if s.place.N > 0 && s.place.Space == p.Space && s.place.From == p.From && s.rows == rows && s.cols == cols {
			return true
		}
	}
	return false
}

// take reports whether there is a copy of a place, and makes one if not; not is the other operand, which must stay.
func (c *copies) take(p, not devicetest.Place, rows, cols int) bool {
	c.turn++
	victim := -1
	for i := range c.slot {
		s := &c.slot[i]
		if s.place.N >= p.N && s.place.Space == p.Space && s.place.From == p.From {
			s.turn = c.turn
			return true
		}
		same := s.place.N > 0 && s.place.Space == not.Space && s.place.From == not.From
		if !same && (victim < 0 || s.turn < c.slot[victim].turn) {
			victim = i
		}
	}
	if rows <= 128 { // not worth a launch of their own
		rows, cols = 0, 0
	}
	s := &c.slot[victim]
	s.place, s.rows, s.cols, s.turn = p, rows, cols, c.turn
	return false
}

// forget drops copies of memory that was written.
func (c *copies) forget(p devicetest.Place) {
	for i := range c.slot {
		q := c.slot[i].place
		if q.N > 0 && q.Space == p.Space && q.From < p.From+p.N*p.Size && p.From < q.From+q.N*q.Size {
			c.slot[i].place = devicetest.Place{}
		}
	}
}
