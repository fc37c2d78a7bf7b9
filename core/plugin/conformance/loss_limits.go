package conformance

import (
	"errors"
	"fmt"
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

func (c lossCase) perSample() error {
	return c.with(sgd, func(l *lossTrial) error {
		image, text := c.pairs()
		plain, err := l.compute(image, text, false)
		if err != nil {
			return err
		}
		if len(plain.PerSample) != 0 {
			return errors.New("per-sample values that nobody asked for")
		}
		q := c.request(false)
		q.PerSample = true
		r, err := l.Compute(ctx, q)
		if err != nil {
			return err
		}
		for name, values := range r.PerSample {
			if len(values) != c.o.Batch {
				return fmt.Errorf("%s has %d values for %d samples", name, len(values), c.o.Batch)
			}
			part, ok := r.Parts[name]
			sum := 0.0
			for _, v := range values {
				sum += float64(v)
			}
			if mean := sum / float64(c.o.Batch); ok && math.Abs(mean-part) > 1e-4*(1+math.Abs(part)) {
				return fmt.Errorf("the part %s is %v, the mean of its samples %v", name, part, mean)
			}
		}
		return nil
	})
}

func (c lossCase) badShapes() error {
	return c.with(sgd, func(l *lossTrial) error {
		d := c.o.EmbedDim
		for what, q := range map[string]clip.LossRequest{
			"embeddings of two widths": {Image: unitRows(1, 3, d), Text: unitRows(2, 3, d+1)},
			"batches of two sizes":     {Image: unitRows(1, 3, d), Text: unitRows(2, 4, d)},
			"a batch of one":           {Image: unitRows(1, 1, d), Text: unitRows(2, 1, d)},
		} {
			q.Inputs = Further(c.o.Inputs, q.Image.Shape[0], d)
			for _, q.Train = range []bool{false, true} {
				_, err := l.Compute(ctx, q)
				if err := wantKind(what, err, fault.Invalid); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (c lossCase) nonFinite() error {
	return c.with(sgd, func(l *lossTrial) error {
		q := c.request(true)
		q.Image.F32()[0] = float32(math.NaN())
		_, err := l.Compute(ctx, q)
		return wantKind("an embedding with a NaN", err, fault.Numeric)
	})
}

// step checks that half the scale at twice the rate is the same step.
func (c lossCase) step() error {
	after := func(lr, scale float64) (out *tensor.Tensor, err error) {
		err = c.with(sgd, func(l *lossTrial) error {
			if l.info.Parameters == 0 {
				return notChecked("it has no parameters")
			}
			image, text := c.pairs()
			if _, err := l.compute(image, text, true); err != nil {
				return err
			}
			if err := l.Step(ctx, 1, lr, scale); err != nil {
				return err
			}
			r, err := l.compute(image, text, false)
			if err == nil {
				out = tensor.FromF32([]float32{float32(r.Value)}, 1)
			}
			return err
		})
		return out, err
	}
	a, err1 := after(.02, .5)
	if err1 != nil {
		return err1
	}
	b, err2 := after(.01, 1)
	if err2 != nil {
		return err2
	}
	return checkNear("the value after a step of half the scale at twice the rate", a, b, 1e-5*(1+math.Abs(float64(a.F32()[0]))))
}

func (c lossCase) checkpointFile() error {
	return c.with(sgd, func(l *lossTrial) error { return checkpointFile(l, l.info.Parameters) })
}

func (c lossCase) learn(l *lossTrial, step int) error {
	image, text := c.pairs()
	if _, err := l.compute(image, text, true); err != nil {
		return err
	}
	return l.Step(ctx, step, .01, 1)
}

// probe returns the bits of the values of several batches. It evaluates only, because gradients of a probe
// would enter the next step.
func (c lossCase) probe(l *lossTrial) (*tensor.Tensor, error) {
	image, text := c.pairs()
	out := tensor.New(tensor.F32, 8, 2)
	for i := range 8 {
		for j := range text.F32() {
			text.F32()[j] *= 1 - .05*float32(i)
		}
		r, err := l.compute(image, text, false)
		if err != nil {
			return nil, err
		}
		bits := math.Float64bits(r.Value)
		out.F32()[2*i], out.F32()[2*i+1] = math.Float32frombits(uint32(bits)), math.Float32frombits(uint32(bits>>32))
	}
	return out, nil
}

// bits returns what probe returns.
func (c lossCase) bits(l *lossTrial) (string, error) {
	out, err := c.probe(l)
	if err != nil {
		return "", err
	}
	return string(out.Data), nil
}

func (c lossCase) saveLoad() error {
	return saveLoad(func() (*lossTrial, error) { return c.open(adamw) }, c.learn, c.probe)
}

func (c lossCase) loadRefuses() error {
	return c.with(sgd, func(l *lossTrial) error { return loadRefuses(l, c.probe) })
}

func (c lossCase) cancellation() error {
	return c.with(sgd, func(l *lossTrial) error {
		image, text := c.pairs()
		_, err := l.Compute(canceledContext(), c.request(true))
		if err := wantKind("a cancelled Compute", err, fault.Canceled); err != nil {
			return err
		}
		if n, err := l.GradNorm(ctx); err != nil || n != 0 {
			return fmt.Errorf("the squared gradient norm after a cancelled Compute is %v, want 0 (%v)", n, err)
		}
		if _, err = l.compute(image, text, true); err != nil {
			return err
		}
		return l.endsSoon()
	})
}

func (c lossCase) close() error {
	l, err := c.open(sgd)
	if err != nil {
		return err
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		return err
	}
	unused, err := c.start() // never configured
	if err != nil {
		return err
	}
	return unused.Close()
}
