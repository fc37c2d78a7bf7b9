package towertest

import (
	"math"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/tensor"
)

// checkBuckets checks the buckets of gradients beside everything that says what is trained and how.
func (c Case) checkBuckets(t *testing.T) {
	average, late := adamw, later(1, "*weight")
	average.EMADecay, late.WeightDecay = .5, .3
	for name, change := range map[string]func(*clip.EncoderConfig){
		"frozen":    func(cfg *clip.EncoderConfig) { cfg.Freeze = clip.Freeze{Params: []string{"*bias"}} },
		"average":   func(cfg *clip.EncoderConfig) { cfg.Optimizer = average },
		"not begun": func(cfg *clip.EncoderConfig) { cfg.Optimizer = late },
		"adapters":  func(cfg *clip.EncoderConfig) { cfg.LoRA = &clip.LoRA{Rank: 1, Alpha: 2, Targets: []string{"*"}} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.config(adamw)
			change(&cfg)
			c.bucketed(t, cfg)
		})
	}
}

// bucketed takes steps by Step and by StepWith, with the gradients in buckets and with twice the gradients at half the
// scale: parameters and optimiser's state have the same bits.
func (c Case) bucketed(t *testing.T, cfg clip.EncoderConfig) {
	plain, whole, twice := c.open(t, cfg), c.open(t, cfg), c.open(t, cfg, tower.WithBuckets(100))
	trained := 0
	for _, n := range twice.info.BucketSizes {
		trained += n
	}
	if want := twice.info.Parameters - twice.info.Frozen; int64(trained) != want || len(twice.info.BucketSizes) != (trained+99)/100 || len(whole.info.BucketSizes) != 1 {
		t.Fatalf("buckets of %d and %d gradients, of which there are %d", whole.info.BucketSizes, twice.info.BucketSizes, want)
	}
	for n := 1; n <= 2; n++ {
		square := plain.learn2(n, func(s *session, ticket clip.Ticket) { s.backward(ticket, 2, 6) }, func(s *session) { s.step(n, 1e-2, .5) })
		for _, s := range []*session{whole, twice} {
			factor, scale := float32(1), .5
			if s == twice {
				factor, scale = 2, .25
			}
			var gradients []*tensor.Tensor
			sum := 0.0
			s.learn2(n, func(s *session, ticket clip.Ticket) { gradients = s.lastBackward(ticket, 2, 6) }, func(s *session) {
				for _, g := range gradients {
					for i, v := range g.F32() {
						sum += float64(v) * float64(v)
						g.F32()[i] *= factor
					}
				}
				if err := s.Encoder.(clip.Bucketed).StepWith(s.ctx, n, 1e-2, scale, gradients); err != nil {
					t.Fatal(err)
				}
			})
			if !(math.Abs(sum-square) <= 1e-5*square) {
				t.Errorf("step %d: the buckets have the squared norm %g, the gradients %g", n, sum, square)
			}
		}
	}
	want := Values(t, plain)
	same(t, "a step with the gradients of the buckets", Values(t, whole), want)
	same(t, "a step with twice the gradients and half the scale", Values(t, twice), want)
}

// learn2 computes the gradients of two micro-batches, the second by backward, and steps; it returns the square of their norm.
func (s *session) learn2(n int, backward func(*session, clip.Ticket), step func(*session)) float64 {
	s.Helper()
	for i, part := range [][2]int{{0, 2}, {2, 6}} {
		req := s.request(part[0], part[1], clip.Train)
		req.Step, req.Micro = n-1, i
		_, ticket := s.forward(req)
		if i == 0 {
			s.backward(ticket, part[0], part[1])
		} else {
			backward(s, ticket)
		}
	}
	square, err := s.GradNorm(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	step(s)
	return square
}

// lastBackward runs the last backward pass of a step while others wait for the buckets, the last first.
func (s *session) lastBackward(ticket clip.Ticket, from, to int) []*tensor.Tensor {
	s.Helper()
	e := s.Encoder.(clip.BucketedEncoder)
	gradients, errs := make([]*tensor.Tensor, len(s.info.BucketSizes)), make(chan error)
	for k := range slices.Backward(gradients) {
		go func() {
			var err error
			gradients[k], err = e.Gradients(s.ctx, k, nil)
			errs <- err
		}()
	}
	if err := e.BackwardLast(s.ctx, ticket, cotangent(from, to), nil); err != nil {
		s.Fatal(err)
	}
	for range gradients {
		if err := <-errs; err != nil {
			s.Fatal(err)
		}
	}
	return gradients
}
