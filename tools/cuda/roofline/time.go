package main

// seconds returns the least time of a launch on a GPU by its data sheet, and the time expected of good kernels.
func (l launch) seconds(g gpu, p precision, bytes float64) (floor, expected float64) {
	if l.full {
		p = f32
	}
	rate, reached := 0., 1.
	switch l.unit {
	case vector:
		rate, reached = g.F32, g.Reached.Vector
	case matrix:
		rate, reached = g.peak(p), g.Reached.Products
	case ours:
		rate, reached = g.F32, g.Reached.Vector
		if p == bf16 {
			rate, reached = g.BF16, g.Reached.Tensor
		}
	}
	moving := bytes / g.Bandwidth
	floor, expected = moving, moving/g.Reached.Bandwidth
	if rate > 0 {
		floor, expected = max(floor, l.flops/rate), max(expected, l.flops/rate/reached)
	}
	return floor, expected
}

// halvedBytes returns the bytes when activations lie in memory as bfloat16: nothing has to be rounded, everything but
// parameters, their gradients and the optimiser's state is half as long.
func (l launch) halvedBytes() float64 { return l.state + l.activation/2 + l.half }

// total adds up launches, which follow each other on one stream.
type total struct {
	launches                  int
	flops, bytes              float64
	floor, expected, halfTime float64 // seconds; halfTime is expected with activations in bfloat16
}

func (t *total) add(l launch, g gpu, p precision) {
	if l.rounding > 0 {
		_, e := l.seconds(g, p, l.bytes())
		f, _ := l.seconds(g, p, l.bytes())
		t.launches, t.bytes, t.floor, t.expected = t.launches+1, t.bytes+l.bytes(), t.floor+f, t.expected+e
		return // halfTime: it would not be there
	}
	floor, expected := l.seconds(g, p, l.bytes())
	_, half := l.seconds(g, p, l.halvedBytes())
	t.launches++
	t.flops += l.flops
	t.bytes += l.bytes()
	t.floor += floor
	t.expected += expected
	t.halfTime += half
}

// sum adds up all launches of all parts, and those of each class.
func sum(parts []step, g gpu, p precision) (all total, classes map[string]*total) {
	classes = map[string]*total{}
	for _, part := range parts {
		for _, l := range part.launches {
			if classes[l.class] == nil {
				classes[l.class] = &total{}
			}
			classes[l.class].add(l, g, p)
			all.add(l, g, p)
		}
	}
	return all, classes
}
