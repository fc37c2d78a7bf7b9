package graph

import (
	"math"
	"slices"
)

// Segment enters a part of the model, such as a residual block, of which the backward pass keeps nothing
// but what it was given when Options.Checkpointing is set (Chen et al. 2016, arXiv 1604.06174). Call the
// function it returns at the part's end. Segments do not nest: an inner one is part of the outer.
//
//	defer g.Segment()()
func (g *Graph) Segment() (end func()) {
	if g.segment != 0 {
		return func() {}
	}
	g.segments++
	g.segment = g.segments
	return func() { g.segment = 0 }
}

// recompute makes the backward pass compute the values of segments again, each segment's when it first
// needs one: the same kernels on the same inputs in the same order, hence the same bits. What the forward
// pass wrote then lives no longer than that pass.
func (l *lowering) recompute() {
	inner := l.inner()
	head, tail := l.steps[:l.forward], gather(l.steps[l.forward:])
	needed := map[*storage]bool{}
	for _, st := range tail {
		for _, s := range st.inputs() {
			if inner[s] != 0 {
				needed[s] = true
			}
		}
	}
	bySegment := map[int][]*step{} // the steps to be done again
	for _, st := range slices.Backward(head) {
		if !slices.ContainsFunc(st.outputs(), func(s *storage) bool { return needed[s] }) {
			continue
		}
		for _, s := range st.inputs() {
			if inner[s] != 0 {
				needed[s] = true
			}
		}
		bySegment[st.segment] = append(bySegment[st.segment], st)
	}
	again := map[*storage]*storage{}
	steps := slices.Clone(head)
	for _, st := range tail {
		for _, s := range st.inputs() {
			segment := inner[s]
			for _, first := range slices.Backward(bySegment[segment]) {
				steps = append(steps, l.repeatStep(first, again))
			}
			delete(bySegment, segment)
		}
		for i, s := range st.inputs() {
			if c := again[s]; c != nil && inner[s] != 0 {
				st.args[i] = c
			}
		}
		steps = append(steps, st)
	}
	l.steps = steps
}

// gather moves steps of one segment together as far as they depend on one another, so that segments which
// stand side by side are not all in memory at once. What each step computes stays the same.
func gather(steps []*step) []*step {
	maker := map[*storage]int{}
	for i, st := range steps {
		for _, s := range st.outputs() {
			maker[s] = i
		}
	}
	waits, users := make([]int, len(steps)), make([][]int, len(steps))
	for i, st := range steps {
		for _, s := range st.inputs() {
			if m, ok := maker[s]; ok && s != nil {
				waits[i]++
				users[m] = append(users[m], i)
			}
		}
	}
	// What is between segments goes first, then the segment that the forward pass came to last.
	rank := func(st *step) int {
		if st.segment == 0 {
			return math.MaxInt
		}
		return st.segment
	}
	var ordered []*step
	done, segment := make([]bool, len(steps)), 0
	for range steps {
		next := -1
		for i, st := range steps {
			if done[i] || waits[i] > 0 {
				continue
			}
			if st.segment == segment {
				next = i
				break
			}
			if next < 0 || rank(st) > rank(steps[next]) {
				next = i
			}
		}
		done[next] = true
		for _, i := range users[next] {
			waits[i]--
		}
		if steps[next].segment != 0 {
			segment = steps[next].segment
		}
		ordered = append(ordered, steps[next])
	}
	return ordered
}

// inner gives the values that need not be kept with their segments: those that the forward pass reads
// within their segment alone, and nothing reads from outside. A value that depends on a state is not
// among them, as the state may change before the backward pass, nor is one that other ranks had a part in.
func (l *lowering) inner() map[*storage]int {
	inner := map[*storage]int{}
	for _, st := range l.steps[:l.forward] {
		moves := st.host != nil
		for _, s := range st.inputs() {
			if s == nil {
				continue
			}
			moves = moves || s.place == inStates
			if inner[s] != st.segment {
				delete(inner, s)
			}
		}
		for _, s := range st.outputs() {
			if st.segment != 0 && !s.keep && !moves {
				inner[s] = st.segment
			}
		}
	}
	return inner
}

// repeatStep copies a step, on copies of the values that are computed again.
func (l *lowering) repeatStep(first *step, again map[*storage]*storage) *step {
	st := *first
	st.name += ".again"
	st.args = slices.Clone(first.args)
	for i, s := range st.args {
		switch {
		case s == nil:
		case i >= st.outs:
			again[s] = l.addStorage(&storage{size: s.size, dtype: s.dtype, place: s.place, again: s})
			st.args[i] = again[s]
		case again[s] != nil:
			st.args[i] = again[s]
		}
	}
	return &st
}
