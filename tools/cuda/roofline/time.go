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

// total adds up launches, which follow each other on one stream.
type total struct {
	launches        int
	flops, bytes    float64
	floor, expected float64 // seconds
}

func (t *total) add(l launch, g gpu, p precision) {
	floor, expected := l.seconds(g, p, l.bytes())
	t.launches++
	t.flops += l.flops
	t.bytes += l.bytes()
	t.floor += floor
	t.expected += expected
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
