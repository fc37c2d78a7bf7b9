package conformance

import (
	"errors"
	"fmt"
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// gradient moves the parameters along their own gradient g of f = ⟨c, embedding⟩, which plain SGD
// does exactly, and compares the change of f with |g|²; then along the gradient h of another
// cotangent, where the change is ⟨g, h⟩ = (|g+h|² − |g|² − |h|²)/2.
func (c encoderCase) gradient() error {
	var g, h, both float64
	var cot, other *tensor.Tensor
	err := c.with(sgd, func(e *trial) error {
		cot, other = e.cotangent(1), e.cotangent(2)
		norm := func(cotangents ...*tensor.Tensor) (float64, error) {
			for _, t := range cotangents {
				if err := e.backward(t); err != nil {
					return 0, err
				}
			}
			n, err1 := e.GradNorm(ctx)
			return n, errors.Join(err1, e.Step(ctx, 1, 0, 1)) // a rate of 0: only the gradients go
		}
		var err1, err2, err3 error
		g, err1 = norm(cot)
		h, err2 = norm(other)
		both, err3 = norm(cot, other)
		return errors.Join(err1, err2, err3)
	})
	if err != nil {
		return err
	}
	if !(g > 0) || !(h > 0) {
		return fmt.Errorf("the squared gradient norms are %v and %v", g, h)
	}
	// value is f after a move of length s along the gradient of move.
	value := func(move *tensor.Tensor, norm float64) func(float64) (float64, error) {
		return func(s float64) (v float64, err error) {
			err = c.with(sgd, func(e *trial) error {
				if err := errors.Join(e.backward(move), e.Step(ctx, 1, s/math.Sqrt(norm), 1)); err != nil {
					return err
				}
				out, ticket, err := e.forward(e.request(clip.Train))
				if err != nil {
					return err
				}
				v = dot(out.F32(), cot.F32())
				return e.Discard(ctx, ticket)
			})
			return v, err
		}
	}
	if err := slopes(value(cot, g), -math.Sqrt(g), 1, c.o.Tolerance); err != nil {
		return fmt.Errorf("along the gradient: %w", err)
	}
	inner := (both - g - h) / 2
	if math.Abs(inner) < .05*math.Sqrt(g*h) {
		return nil // nearly orthogonal: rounding would be all that is compared
	}
	if err := slopes(value(other, h), -inner/math.Sqrt(h), 1, 2*c.o.Tolerance); err != nil {
		return fmt.Errorf("along another gradient: %w", err)
	}
	return nil
}

// bits returns the bits of the embeddings in mode Eval.
func (e *trial) bits() (string, error) {
	out, err := e.eval()
	if err != nil {
		return "", err
	}
	return string(out.Data), nil
}

func (c encoderCase) accumulation() error {
	return c.with(sgd, func(e *trial) error {
		grad, minus := e.cotangent(1), e.cotangent(1)
		for i := range minus.F32() {
			minus.F32()[i] *= -1
		}
		_, t1, err1 := e.forward(e.request(clip.Train))
		_, t2, err2 := e.forward(e.request(clip.Train))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if t1 == t2 {
			return fmt.Errorf("two tickets are both %d", t1)
		}
		if err := e.Backward(ctx, t2, grad); err != nil {
			return err
		}
		one, err := e.GradNorm(ctx)
		if err != nil {
			return err
		}
		if err := e.Backward(ctx, t1, minus); err != nil {
			return err
		}
		rest, err := e.GradNorm(ctx)
		if err != nil {
			return err
		}
		if !(rest <= 1e-6*one) {
			return fmt.Errorf("the squared norm is %v after a gradient and %v after its opposite as well, want 0", one, rest)
		}
		return nil
	})
}

func (c encoderCase) step() error {
	moved := func(lr, scale float64) (out *tensor.Tensor, err error) {
		err = c.with(sgd, func(e *trial) error {
			before, err := e.eval()
			if err != nil {
				return err
			}
			if err := errors.Join(e.backward(e.cotangent(1)), e.Step(ctx, 1, lr, scale)); err != nil {
				return err
			}
			if n, err := e.GradNorm(ctx); err != nil || n != 0 {
				return fmt.Errorf("the squared gradient norm after Step is %v, want 0 (%v)", n, err)
			}
			if out, err = e.eval(); err == nil && checkSame("", before, out) == nil {
				return errors.New("a step changes nothing")
			}
			return err
		})
		return out, err
	}
	a, err1 := moved(.02, .5)
	b, err2 := moved(.01, 1)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return checkNear("half the scale and half the rate", a, b, 1e-5)
}

func (c encoderCase) tickets() error {
	return c.with(sgd, func(e *trial) error {
		grad := e.cotangent(1)
		_, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		if err := e.Backward(ctx, ticket, grad); err != nil {
			return err
		}
		if err := wantKind("a used ticket", e.Backward(ctx, ticket, grad), fault.Conflict); err != nil {
			return err
		}
		if err := wantKind("an unknown ticket", e.Backward(ctx, ticket+1e6, grad), fault.Conflict); err != nil {
			return err
		}
		if _, ticket, err = e.forward(e.request(clip.Train)); err != nil {
			return err
		}
		if err := errors.Join(e.Discard(ctx, ticket), e.Discard(ctx, ticket), e.Discard(ctx, 1e9)); err != nil {
			return fmt.Errorf("discard: %w", err)
		}
		return wantKind("a discarded ticket", e.Backward(ctx, ticket, grad), fault.Conflict)
	})
}

func (c encoderCase) badShapes() error {
	return c.with(sgd, func(e *trial) error {
		bad := map[string]clip.ForwardRequest{"neither images nor texts": {}}
		if s := e.info.ImageSize; e.info.Modality == clip.Image {
			bad["pictures of another size"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, s+1, s+1, 3)}
			bad["pictures of one channel"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, s, s, 1)}
			bad["pictures in f32"] = clip.ForwardRequest{Images: tensor.New(tensor.F32, 2, s, s, 3)}
			bad["texts for an image encoder"] = clip.ForwardRequest{Texts: []string{"a"}}
		} else {
			bad["pictures for a text encoder"] = clip.ForwardRequest{Images: tensor.New(tensor.U8, 2, 8, 8, 3)}
		}
		for what, q := range bad {
			_, _, err := e.Forward(ctx, q)
			if err := wantKind(what, err, fault.Invalid); err != nil {
				return err
			}
		}
		_, ticket, err := e.forward(e.request(clip.Train))
		if err != nil {
			return err
		}
		err = e.Backward(ctx, ticket, tensor.New(tensor.F32, c.o.Batch, c.o.EmbedDim+1))
		return wantKind("a gradient of another width", err, fault.Invalid)
	})
}

func (c encoderCase) nonFinite() error {
	return c.with(sgd, func(e *trial) error {
		grad := e.cotangent(1)
		grad.F32()[0] = float32(math.NaN())
		if err := e.backward(grad); err != nil {
			return err
		}
		n, err := e.GradNorm(ctx)
		if err != nil {
			return fmt.Errorf("a gradient with a NaN makes GradNorm fail: %w", err)
		}
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			return fmt.Errorf("a gradient with a NaN has the squared norm %v", n)
		}
		return nil
	})
}

func (c encoderCase) checkpointFile() error {
	return c.with(sgd, func(e *trial) error { return checkpointFile(e, e.info.Parameters) })
}

func (c encoderCase) learn(e *trial, step int) error {
	return errors.Join(e.backward(e.cotangent(uint64(step))), e.Step(ctx, step, .01, 1))
}

func (c encoderCase) saveLoad() error {
	// Another seed: what the file lacks shows.
	seed := uint64(0)
	open := func() (*trial, error) { seed++; return c.open(adamw, seed) }
	return saveLoad(open, c.learn, (*trial).eval)
}

func (c encoderCase) loadRefuses() error {
	return c.with(sgd, func(e *trial) error { return loadRefuses(e, (*trial).eval) })
}

func (c encoderCase) cancellation() error {
	return c.with(sgd, func(e *trial) error {
		before, err := e.eval()
		if err != nil {
			return err
		}
		_, _, err = e.Forward(canceledContext(), e.request(clip.Train))
		if err := wantKind("a cancelled Forward", err, fault.Canceled); err != nil {
			return err
		}
		after, err := e.eval()
		if err != nil {
			return fmt.Errorf("after a cancelled Forward: %w", err)
		}
		if err := checkSame("before and after a cancelled Forward", before, after); err != nil {
			return err
		}
		return e.endsSoon()
	})
}

func (c encoderCase) close() error {
	e, err := c.open(sgd, 1)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		return err
	}
	unused, err := c.start() // never configured
	if err != nil {
		return err
	}
	return unused.Close()
}
