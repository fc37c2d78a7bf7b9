package conformance

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// withTokens calls f with a configured encoder that has a token output.
func (c encoderCase) withTokens(f func(*trial, clip.TokenEncoder) error) error {
	return c.with(sgd, func(e *trial) error {
		named := slices.Contains(c.o.Outputs, clip.OutputTokens)
		switch {
		case named && e.info.TokenCount < 1:
			return fmt.Errorf("the descriptor names the output %s, and the token count is %d", clip.OutputTokens, e.info.TokenCount)
		case !named || e.info.TokenCount == 0:
			return notChecked("it gives no tokens")
		}
		tokens, ok := e.Encoder.(clip.TokenEncoder)
		if !ok {
			return errors.New("it has a token count, and is no TokenEncoder")
		}
		return f(e, tokens)
	})
}

// forwardTokens calls ForwardTokens and copies its results to the heap.
func (e *trial) forwardTokens(tokens clip.TokenEncoder, mode clip.Mode) (out clip.TokenOutput, ticket clip.Ticket, err error) {
	got, ticket, err := tokens.ForwardTokens(ctx, e.request(mode))
	if err != nil {
		return out, 0, fmt.Errorf("forward: %w", err)
	}
	for _, t := range []struct {
		what  string
		from  *tensor.Tensor
		to    **tensor.Tensor
		dtype tensor.DType
		shape tensor.Shape
	}{
		{"the embedding", got.Embedding, &out.Embedding, tensor.F32, tensor.Shape{e.o.Batch, e.o.EmbedDim}},
		{"tokens", got.Tokens, &out.Tokens, tensor.F32, tensor.Shape{e.o.Batch, e.info.TokenCount, e.o.EmbedDim}},
		{"lengths", got.Lengths, &out.Lengths, tensor.I32, tensor.Shape{e.o.Batch}},
	} {
		if t.from == nil || t.from.DType != t.dtype || !t.from.Shape.Equal(t.shape) {
			return out, 0, fmt.Errorf("%s: got %s, want %v %v", t.what, describe(t.from), t.dtype, t.shape)
		}
		*t.to = t.from.Clone()
		t.from.Free()
	}
	return out, ticket, nil
}

func describe(t *tensor.Tensor) string {
	if t == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v %v", t.DType, t.Shape)
}

// tokens checks the form of the token output in every mode, and that the embedding beside it is Forward's.
func (c encoderCase) tokens() error {
	return c.withTokens(func(e *trial, tokens clip.TokenEncoder) error {
		for _, m := range modes {
			out, ticket, err := e.forwardTokens(tokens, m.mode)
			if err != nil {
				return fmt.Errorf("mode %s: %w", m.name, err)
			}
			if trains := e.info.Parameters > e.info.Frozen; (ticket != 0) != (m.mode == clip.Train && trains) {
				return fmt.Errorf("ticket %d in mode %s", ticket, m.name)
			}
			if ticket != 0 {
				if err := e.Discard(ctx, ticket); err != nil {
					return fmt.Errorf("discard: %w", err)
				}
			}
			if err := e.checkTokenRows(out); err != nil {
				return fmt.Errorf("mode %s: %w", m.name, err)
			}
			alone, ticket, err := e.forward(e.request(m.mode))
			if err != nil {
				return err
			}
			if err := errors.Join(e.Discard(ctx, ticket), checkNear("the embedding beside tokens and alone, mode "+m.name, out.Embedding, alone, 1e-4)); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkTokenRows demands rows of the norm 1 up to each sample's length, and zeros after them.
func (e *trial) checkTokenRows(out clip.TokenOutput) error {
	count, dim := e.info.TokenCount, e.o.EmbedDim
	for i, n := range out.Lengths.I32() {
		if n < 1 || int(n) > count {
			return fmt.Errorf("sample %d has %d tokens, want 1 to %d", i, n, count)
		}
		for k := range count {
			row := out.Tokens.F32()[(i*count+k)*dim:][:dim]
			norm := math.Sqrt(dot(row, row))
			switch {
			case k < int(n) && !(math.Abs(norm-1) < 1e-4):
				return fmt.Errorf("token %d of sample %d, which has %d, has the norm %v", k, i, n, norm)
			case k >= int(n) && norm != 0:
				return fmt.Errorf("token %d of sample %d, which has %d, is not zero", k, i, n)
			}
		}
	}
	return nil
}

// tokenGradient moves the parameters along the gradient of f = ⟨c, embedding⟩ + ⟨d, tokens⟩, as gradient does. The
// rows of d after a sample's own tokens are not zero, because they must not count.
func (c encoderCase) tokenGradient() error {
	if !slices.Contains(c.o.Outputs, clip.OutputTokens) {
		return notChecked("it gives no tokens")
	}
	var cot, more *tensor.Tensor
	pass := func(e *trial) error {
		tokens := e.Encoder.(clip.TokenEncoder)
		_, ticket, err := e.forwardTokens(tokens, clip.Train)
		if err != nil {
			return err
		}
		if err := tokens.BackwardTokens(ctx, ticket, cot, more); err != nil {
			return fmt.Errorf("backward: %w", err)
		}
		return nil
	}
	var g float64
	err := c.withTokens(func(e *trial, _ clip.TokenEncoder) (err error) {
		cot = e.cotangent(1)
		more = normal(3, c.o.Batch*e.info.TokenCount, c.o.EmbedDim)
		more.Shape = tensor.Shape{c.o.Batch, e.info.TokenCount, c.o.EmbedDim}
		if err := pass(e); err != nil {
			return err
		}
		g, err = e.GradNorm(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if !(g > 0) {
		return fmt.Errorf("the squared gradient norm is %v", g)
	}
	return slopes(func(s float64) (v float64, err error) {
		err = c.with(sgd, func(e *trial) error {
			if err := errors.Join(pass(e), e.Step(ctx, 1, s/math.Sqrt(g), 1)); err != nil {
				return err
			}
			out, ticket, err := e.forwardTokens(e.Encoder.(clip.TokenEncoder), clip.Train)
			if err != nil {
				return err
			}
			v = dot(out.Embedding.F32(), cot.F32()) + dot(out.Tokens.F32(), more.F32())
			return e.Discard(ctx, ticket)
		})
		return v, err
	}, -math.Sqrt(g), 1, c.o.Tolerance)
}
