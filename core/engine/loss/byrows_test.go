package loss

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
)

// In double precision the rows' shares of value and gradients add up to the whole but for the order of sums.
func TestRowsAddUpExactly(t *testing.T) {
	define := func(clip.LossConfig) (Definition, error) {
		return Definition{Scalars: []Scalar{{Name: LogitScale, Init: 1, Max: 9}}, Learn: true, ByRows: true, Report: ReportTemperature,
			Build: func(b Batch) []Part { return b.Contrast(Contrast{}) }}, nil
	}
	l := opened(t, define, configuration, double)
	q := asked()
	q.Inputs = nil
	// compute returns the losses of the rows, weighted, and the gradients of both embeddings, without rounding to f32.
	compute := func(from, rows int) (value float64, gradients []float64) {
		p, err := l.programs.Get(programKey{batch: pairs, dim: dim, training: true, from: from, rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		i, err := l.programs.Take(p)
		if err != nil {
			t.Fatal(err)
		}
		defer l.programs.Give(p, i)
		p.Extra.feed(i, q)
		if err := i.Forward(); err != nil {
			t.Fatal(err)
		}
		p.Extra.setGrads(i)
		if err := i.Backward(graph.Overwrite); err != nil {
			t.Fatal(err)
		}
		for k, part := range p.Extra.parts {
			losses := make([]float64, rows)
			if err := i.Read(k, losses); err != nil {
				t.Fatal(err)
			}
			for _, v := range losses {
				value += part.Weight * v / pairs
			}
		}
		for k := range p.Extra.wrt {
			values := make([]float64, pairs*dim)
			l.session.Backend.Read(values, i.InputGrad(k))
			gradients = append(gradients, values...)
		}
		return value, gradients
	}
	value, gradients := compute(0, pairs)
	sum, sums := 0.0, make([]float64, len(gradients))
	for _, part := range [][2]int{{0, 2}, {2, 1}, {3, 2}} {
		v, some := compute(part[0], part[1])
		sum += v
		for i, g := range some {
			sums[i] += g
		}
	}
	if math.Abs(sum-value) > 1e-12 || value == 0 {
		t.Errorf("the shares of the value are %v together, the whole is %v", sum, value)
	}
	for i, want := range gradients {
		if math.Abs(sums[i]-want) > 1e-12 {
			t.Errorf("gradient %d is %v in shares, %v of the whole", i, sums[i], want)
		}
	}
}
