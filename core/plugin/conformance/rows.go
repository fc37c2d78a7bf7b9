package conformance

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// rows checks that what a loss computes of disjoint rows adds up to what it computes of the batch.
func (c lossCase) rows() error {
	if !slices.Contains(c.o.Capabilities, clip.CapRows) {
		return notChecked("it computes whole batches alone")
	}
	return c.with(sgd, func(l *lossTrial) error {
		cut := max(1, c.o.Batch/3)
		whole, err1 := c.shares(l, [2]int{})
		sum, err2 := c.shares(l, [2]int{0, cut}, [2]int{cut, c.o.Batch - cut})
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if err := sum.near(whole); err != nil {
			return fmt.Errorf("the shares of all rows, added up: %w", err)
		}
		beyond := c.request(true)
		beyond.RowOffset, beyond.Rows = c.o.Batch-1, 2
		_, err := l.Compute(ctx, beyond)
		return wantKind("rows beyond the last", err, fault.Invalid)
	})
}

// rowShares holds what requests for some rows brought together.
type rowShares struct {
	numbers   map[string]float64 // value, parts, and the norm of the parameters' gradient
	gradients map[string]*tensor.Tensor
	samples   map[string][]float32
}

// shares adds up what a loss computes of parts of the rows: the first and the number, 0 for all.
func (c lossCase) shares(l *lossTrial, parts ...[2]int) (*rowShares, error) {
	s := &rowShares{map[string]float64{}, map[string]*tensor.Tensor{}, map[string][]float32{}}
	for _, part := range parts {
		q := c.request(true)
		q.PerSample, q.RowOffset, q.Rows = true, part[0], part[1]
		r, err := l.computeOf(q)
		if err != nil {
			return nil, fmt.Errorf("%d rows from %d: %w", part[1], part[0], err)
		}
		s.numbers["the value"] += r.Value
		for name, v := range r.Parts {
			s.numbers["the part "+name] += v
		}
		for name, values := range r.PerSample {
			if n := cmp.Or(part[1], c.o.Batch); len(values) != n {
				return nil, fmt.Errorf("%d values of %s for %d rows", len(values), name, n)
			}
			s.samples[name] = append(s.samples[name], values...)
		}
		gradients := map[string]*tensor.Tensor{"image": r.DImage, "text": r.DText}
		maps.Copy(gradients, r.Gradients)
		for name, g := range gradients {
			if s.gradients[name] == nil {
				s.gradients[name] = g
				continue
			}
			for i, v := range g.F32() {
				s.gradients[name].F32()[i] += v
			}
		}
	}
	square, err := l.GradNorm(ctx)
	s.numbers["the norm of the parameters' gradient"] = math.Sqrt(square)
	return s, errors.Join(err, l.Step(ctx, 1, 0, 1)) // a rate of 0: only the gradients go
}

// near checks that shares are those of the whole.
func (s *rowShares) near(whole *rowShares) error {
	for name, want := range whole.numbers {
		if got := s.numbers[name]; !(math.Abs(got-want) <= 1e-5*(1+math.Abs(want))) {
			return fmt.Errorf("%s is %v, and %v of the batch", name, got, want)
		}
	}
	for name, want := range whole.gradients {
		if err := checkNear("the gradient of "+name, s.gradients[name], want, 1e-5); err != nil {
			return err
		}
	}
	for name, want := range whole.samples {
		for i, v := range want {
			if got := s.samples[name]; i >= len(got) || !(math.Abs(float64(got[i]-v)) <= 1e-4*(1+math.Abs(float64(v)))) {
				return fmt.Errorf("%s of the samples is %v, and %v of the batch", name, got, want)
			}
		}
	}
	return nil
}
