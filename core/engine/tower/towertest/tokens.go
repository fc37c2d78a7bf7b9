package towertest

import (
	"math"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

func (s *session) forwardTokens(req clip.ForwardRequest) (clip.TokenOutput, clip.Ticket) {
	s.Helper()
	out, ticket, err := s.Encoder.(clip.TokenEncoder).ForwardTokens(s.ctx, req)
	if err != nil {
		s.Fatal(err)
	}
	if (ticket != 0) != (req.Mode == clip.Train && s.info.Frozen < s.info.Parameters) {
		s.Fatalf("ticket %d in mode %d", ticket, req.Mode)
	}
	return out, ticket
}

func (s *session) backwardTokens(ticket clip.Ticket, from, to int) {
	s.Helper()
	if err := s.Encoder.(clip.TokenEncoder).BackwardTokens(s.ctx, ticket, cotangent(from, to), s.tokenCotangent(from, to)); err != nil {
		s.Fatal(err)
	}
}

// tokenCotangent returns the gradient of the tokens of samples [from, to), also of rows after a sample's own.
func (s *session) tokenCotangent(from, to int) *tensor.Tensor {
	g, n := tensor.New(tensor.F32, to-from, s.info.TokenCount, embedDim), s.info.TokenCount*embedDim
	for i := range g.F32() {
		g.F32()[i] = float32(30 * Uniform("token cotangent", from*n+i))
	}
	return g
}

// checkTokens checks the second output. Towers without one say so.
func (c Case) checkTokens(t *testing.T) {
	s := c.open(t, c.config(PlainSGD))
	if s.info.TokenCount == 0 {
		_, _, err := s.Encoder.(clip.TokenEncoder).ForwardTokens(s.ctx, s.request(0, 2, clip.Eval))
		wants(t, fault.Invalid, err)
		return
	}
	t.Run("form", c.checkTokenForm)
	t.Run("embeddings alone cost and give the same", c.checkTokensAreExtra)
	t.Run("tickets and micro-batches", c.checkTokenTickets)
	t.Run("checkpointing", c.checkTokenCheckpointing)
	t.Run("frozen", func(t *testing.T) {
		f := c.openFrozen(t, adamw, clip.Freeze{All: true})
		f.forwardTokens(f.request(0, 3, clip.Train)) // gives no ticket
	})
	t.Run("in bfloat16", func(t *testing.T) {
		cfg := c.config(PlainSGD)
		cfg.Compute.Precision = "bf16-emulated"
		half := c.open(t, cfg)
		want, _ := s.forwardTokens(s.request(0, 4, clip.Eval))
		got, _ := half.forwardTokens(half.request(0, 4, clip.Eval))
		held(t, "tokens", widen(got.Tokens.F32()), widen(want.Tokens.F32()), 3e-2)
	})
	t.Run("averaged", func(t *testing.T) {
		o := adamw
		o.EMADecay = .5
		a := c.open(t, c.config(o))
		for n := 1; n <= 3; n++ {
			a.train(n, 0, 4)
		}
		req := a.request(0, 6, clip.Eval)
		req.EMA = true
		out, _ := a.forwardTokens(req)
		held(t, "embeddings beside tokens", widen(out.Embedding.F32()), widen(a.ema()), 1e-5)
	})
	t.Run("bad gradients", func(t *testing.T) {
		e := s.Encoder.(clip.TokenEncoder)
		_, plain := s.forward(s.request(0, 3, clip.Train))
		wants(t, fault.Invalid, e.BackwardTokens(s.ctx, plain, cotangent(0, 3), s.tokenCotangent(0, 3)))
		_, ticket := s.forwardTokens(s.request(0, 3, clip.Train))
		wants(t, fault.Invalid, e.BackwardTokens(s.ctx, ticket, cotangent(0, 3), nil))
		wants(t, fault.Invalid, e.BackwardTokens(s.ctx, ticket, cotangent(0, 3), s.tokenCotangent(0, 2)))
		s.backwardTokens(ticket, 0, 3) // is still open
		wants(t, fault.Conflict, e.BackwardTokens(s.ctx, ticket, cotangent(0, 3), s.tokenCotangent(0, 3)))
	})
}

// checkTokenForm demands rows of unit norm up to each sample's length and zeros after them, whatever was there before,
// and that a sample's tokens do not depend on its batch.
func (c Case) checkTokenForm(t *testing.T) {
	s := c.open(t, c.config(adamw))
	for _, mode := range []clip.Mode{clip.Eval, clip.Embed} {
		req := s.request(0, 6, mode)
		req.IntoTokens, req.IntoLengths = s.tokenCotangent(0, 6), tensor.New(tensor.I32, 6)
		out, _ := s.forwardTokens(req)
		if out.Tokens != req.IntoTokens || out.Lengths != req.IntoLengths {
			t.Error("tokens or lengths are not where they were asked for")
		}
		for i, n := range out.Lengths.I32() {
			for k := range s.info.TokenCount {
				row := out.Tokens.F32()[(i*s.info.TokenCount+k)*embedDim:][:embedDim]
				if got := norm(widen(row)); k < int(n) && math.Abs(got-1) > 1e-5 || k >= int(n) && got != 0 || n < 1 {
					t.Fatalf("mode %d: token %d of sample %d, which has %d, has norm %g", mode, k, i, n, got)
				}
			}
		}
		if c.PerBatch && mode == clip.Embed {
			continue
		}
		one, _ := s.forwardTokens(s.request(2, 3, mode))
		size := s.info.TokenCount * embedDim
		held(t, "tokens of a sample alone", widen(one.Tokens.F32()), widen(out.Tokens.F32()[2*size:3*size]), 1e-5)
		if one.Lengths.I32()[0] != out.Lengths.I32()[2] {
			t.Errorf("%d tokens alone, %d in a batch", one.Lengths.I32()[0], out.Lengths.I32()[2])
		}
	}
}

// checkTokensAreExtra demands that a Forward without tokens is the same work and bits after one with, whose embeddings
// are the same but for rounding.
func (c Case) checkTokensAreExtra(t *testing.T) {
	s := c.open(t, c.config(PlainSGD))
	work := s.Encoder.(clip.Meter)
	before, _ := s.forward(s.request(0, 6, clip.Embed))
	alone := work.Work()
	out, _ := s.forwardTokens(s.request(0, 6, clip.Embed))
	both := work.Work() - alone
	after, _ := s.forward(s.request(0, 6, clip.Embed))
	if again := work.Work() - alone - both; again != alone || both <= alone {
		t.Errorf("%g operations, %g with tokens, then %g", alone, both, again)
	}
	if !slices.Equal(before, after) {
		t.Error("embeddings differ after a Forward with tokens")
	}
	held(t, "embeddings beside tokens", widen(out.Embedding.F32()), widen(before), 1e-5)
}

// checkTokenTickets demands that tickets with and without tokens are independent, that Backward counts the tokens'
// gradient as zero, and that micro-batches add up.
func (c Case) checkTokenTickets(t *testing.T) {
	gradient := func(pass func(s *session)) map[string][]float32 {
		s := c.open(t, c.config(PlainSGD))
		pass(s)
		return s.gradient()
	}
	a := gradient(func(s *session) {
		_, t1 := s.forwardTokens(s.request(0, 3, clip.Train))
		_, t2 := s.forward(s.request(3, 6, clip.Train))
		s.forwardTokens(s.request(1, 4, clip.Eval))
		s.backward(t2, 3, 6)
		s.backwardTokens(t1, 0, 3)
	})
	b := gradient(func(s *session) {
		_, t2 := s.forward(s.request(3, 6, clip.Train))
		s.backward(t2, 3, 6)
		_, t1 := s.forwardTokens(s.request(0, 3, clip.Train))
		s.backwardTokens(t1, 0, 3)
	})
	same(t, "gradients depend on the order of tickets:", a, b)
	apart := func(what string, a, b map[string][]float32) {
		for name := range a {
			if d := norm(widen(minus(a[name], b[name]))); d > 1e-5*(norm(widen(a[name]))+1) {
				t.Errorf("%s: the gradient of %s is off by %g of %g", what, name, d, norm(widen(a[name])))
			}
		}
	}
	apart("without the tokens' gradient",
		gradient(func(s *session) { _, t := s.forward(s.request(0, 6, clip.Train)); s.backward(t, 0, 6) }),
		gradient(func(s *session) { _, t := s.forwardTokens(s.request(0, 6, clip.Train)); s.backward(t, 0, 6) }))
	if c.PerBatch {
		return
	}
	apart("in micro-batches",
		gradient(func(s *session) { _, t := s.forwardTokens(s.request(0, 6, clip.Train)); s.backwardTokens(t, 0, 6) }),
		gradient(func(s *session) {
			for from := 0; from < 6; from += 3 {
				_, t := s.forwardTokens(s.request(from, from+3, clip.Train))
				s.backwardTokens(t, from, from+3)
			}
		}))
}

// checkTokenCheckpointing demands that activations which are computed again change no bit.
func (c Case) checkTokenCheckpointing(t *testing.T) {
	var values [2]map[string][]float32
	for i := range values {
		cfg := c.config(adamw)
		cfg.Compute.Checkpointing = i == 1
		s := c.open(t, cfg)
		for step := 1; step <= 2; step++ {
			_, ticket := s.forwardTokens(s.request(0, 4, clip.Train))
			s.backwardTokens(ticket, 0, 4)
			s.step(step, 1e-2, .5)
		}
		values[i] = Values(t, s)
	}
	same(t, "with checkpointing, values differ:", values[0], values[1])
}
