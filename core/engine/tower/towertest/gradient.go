package towertest

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// Gradient compares Backward, and BackwardTokens of towers that have tokens, with finite differences of Forward, for
// each parameter array along one direction, in double precision and in mode Train. Directions are half the gradient's,
// so that the difference is large, and half random, so that errors across it show.
func (c Case) Gradient(t *testing.T) {
	s := c.open(t, c.config(PlainSGD), Double)
	s.checkGradient(t, "embeddings", func() (float64, clip.Ticket) {
		out, ticket := s.forward(s.request(0, 4, clip.Train))
		return inner(out, cotangent(0, 4)), ticket
	}, func(ticket clip.Ticket) { s.backward(ticket, 0, 4) })
	if s.info.TokenCount > 0 {
		s.checkGradient(t, "embeddings and tokens", func() (float64, clip.Ticket) {
			out, ticket := s.forwardTokens(s.request(0, 4, clip.Train))
			// The rows after a sample's own are zero, so that their part of the gradient must not count.
			return inner(out.Embedding.F32(), cotangent(0, 4)) + inner(out.Tokens.F32(), s.tokenCotangent(0, 4)), ticket
		}, func(ticket clip.Ticket) { s.backwardTokens(ticket, 0, 4) })
	}
}

// inner sums up the products of an output with its cotangent.
func inner(out []float32, cotangent *tensor.Tensor) (f float64) {
	for i, c := range cotangent.F32() {
		f += float64(c) * float64(out[i])
	}
	return f
}

// checkGradient holds the gradient that backward accumulates against the differences of what forward gives.
func (s *session) checkGradient(t *testing.T, what string, forward func() (float64, clip.Ticket), backward func(clip.Ticket)) {
	saved, meta := read(t, s)
	// at moves one array from the golden values and gives the new values and what forward makes of them.
	at := func(array string, move func(i int) float64) ([]float32, float64, clip.Ticket) {
		values := rewrite(t, s, saved, meta, func(name string, shape []int, i int) float32 {
			if name == array {
				return Value(name, shape, i) + float32(move(i))
			}
			return Value(name, shape, i)
		})
		f, ticket := forward()
		return values[array], f, ticket
	}
	_, _, ticket := at("", nil)
	backward(ticket)
	gradients := s.gradient()
	for name := range s.parameters() {
		g := gradients[name]
		norm := norm(widen(g))
		scale := math.Sqrt(float64(len(g))) / (norm + 1e-9)
		const epsilon = 3e-5 // few activations cross a kink, and float32 embeddings still tell
		direction := func(i int) float64 { return epsilon * (Uniform("direction "+name, i) + scale*float64(g[i])) }
		lower, f0, _ := at(name, func(i int) float64 { return -direction(i) })
		upper, f1, _ := at(name, direction)
		var want, length float64
		for i, d := range minus(upper, lower) {
			want += float64(g[i]) * float64(d)
			length += float64(d) * float64(d)
		}
		if math.Abs(f1-f0-want) > 2e-3*norm*math.Sqrt(length)+1e-4 {
			t.Errorf("%s, %s: finite difference %g, gradient says %g (norm %g, step %g)", what, name, f1-f0, want, norm, math.Sqrt(length))
		}
	}
}
