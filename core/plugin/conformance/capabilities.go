package conformance

import (
	"errors"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// after returns the embeddings of an instance of its own after a step of each rate, all with the same gradient, with
// the trained weights and, with averaged, with their average.
func (c encoderCase) after(opt clip.Optimizer, averaged bool, rates ...float64) (live, average *tensor.Tensor, err error) {
	e, err := c.open(opt, 1)
	if err != nil {
		return nil, nil, err
	}
	defer e.Close() // its error belongs to the rule about Close
	for n, lr := range rates {
		if err := errors.Join(e.backward(e.cotangent(1)), e.Step(ctx, 1+n, lr, 1)); err != nil {
			return nil, nil, err
		}
	}
	if live, err = e.eval(); err != nil || !averaged {
		return live, nil, err
	}
	q := e.request(clip.Eval)
	q.EMA = true
	average, _, err = e.forward(q)
	return live, average, err
}

// groups checks that a group of all parameters at half the rate takes the steps of half the rate.
func (c encoderCase) groups() error {
	if !slices.Contains(c.o.Capabilities, clip.CapGroups) {
		return notChecked("it has no parameter groups")
	}
	half, grouped := .5, sgd
	grouped.Groups = []clip.ParamGroup{{Params: []string{"*"}, LRScale: &half}}
	want, _, err1 := c.after(sgd, false, .01)
	got, _, err2 := c.after(grouped, false, .02)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := checkNear("twice the rate in a group that halves it", got, want, 1e-5); err != nil {
		return err
	}
	return c.refuses("a group that matches no parameter", func(cfg *clip.EncoderConfig) {
		cfg.Optimizer.Groups = []clip.ParamGroup{{Params: []string{"no such parameter"}}}
	})
}

// average checks the average of the parameters. After one step it is what they are. After another, with a decay of a
// half, it lies midway, where plain SGD is after half the other step.
func (c encoderCase) average() error {
	if !slices.Contains(c.o.Capabilities, clip.CapEMA) {
		return notChecked("it keeps no averages")
	}
	averaged := sgd
	averaged.EMADecay = .5
	live, first, err := c.after(averaged, true, .01)
	if err != nil {
		return err
	}
	if err := checkNear("the average after the first step and the weights", first, live, 1e-6); err != nil {
		return err
	}
	_, second, err1 := c.after(averaged, true, .01, .04)
	want, err2 := c.midway(.01, .04)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := checkNear("the average after the second step and weights midway", second, want, 1e-5); err != nil {
		return err
	}
	refused := func(opt clip.Optimizer, what string, mode clip.Mode) error {
		e, err := c.open(opt, 1)
		if err != nil {
			return err
		}
		defer e.Close()
		q := e.request(mode)
		q.EMA = true
		_, _, err = e.Forward(ctx, q)
		return wantKind(what, err, fault.Invalid)
	}
	return errors.Join(refused(averaged, "averaged weights in mode Train", clip.Train), refused(sgd, "an average that is not kept", clip.Eval))
}

// midway returns the embeddings of weights after a step of one rate and half a step of another.
func (c encoderCase) midway(first, second float64) (*tensor.Tensor, error) {
	out, _, err := c.after(sgd, false, first, second/2)
	return out, err
}

// negatives checks the further texts of samples.
func (c datasetCase) negatives() error {
	if !slices.Contains(c.o.Capabilities, clip.CapNegatives) {
		return notChecked("it gives no negatives")
	}
	return c.with(nil, func(d *datasetTrial) error {
		if d.info.Negatives == 0 {
			return notChecked("it gives no negatives with these options")
		}
		plain := clip.BatchRequest{Indices: d.someIndices(), Epoch: 1, Train: true}
		asked := plain
		asked.Negatives = true
		want, err1 := d.get(plain)
		got, err2 := d.get(asked)
		again, err3 := d.get(asked)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if want.Negatives != nil {
			return errors.New("there are negatives that nobody asked for")
		}
		if len(got.Negatives) != len(asked.Indices) {
			return fmt.Errorf("negatives of %d samples for %d", len(got.Negatives), len(asked.Indices))
		}
		for i, texts := range got.Negatives {
			if len(texts) != d.info.Negatives || slices.Contains(texts, "") || slices.Contains(texts, got.Captions[i]) {
				return fmt.Errorf("sample %d, %q, has the negatives %q, want %d other texts", asked.Indices[i], got.Captions[i], texts, d.info.Negatives)
			}
		}
		if err := differ("the same request twice", got, again); err != nil {
			return err
		}
		for i, index := range asked.Indices {
			one := asked
			one.Indices = []int{index}
			b, err := d.get(one)
			if err != nil {
				return err
			}
			if !slices.Equal(b.Negatives[0], got.Negatives[i]) {
				return fmt.Errorf("sample %d has the negatives %q alone and %q in a batch", index, b.Negatives[0], got.Negatives[i])
			}
		}
		got.Negatives = nil
		return differ("with and without negatives", want, got)
	})
}

// secondView checks that the second picture of a sample is another one, and that the first stays what it is.
func (c datasetCase) secondView() error {
	if !slices.Contains(c.o.Capabilities, clip.CapView2) {
		return notChecked("it gives no second view")
	}
	return c.with(augment, func(d *datasetTrial) error {
		plain := clip.BatchRequest{Indices: d.someIndices(), Epoch: 1, Train: true}
		want, err := d.get(plain)
		if err != nil {
			return err
		}
		if want.Images2 != nil {
			return errors.New("there is a second view that nobody asked for")
		}
		asked := plain
		asked.View2, asked.Into2 = true, tensor.New(tensor.U8, want.Images.Shape...)
		got, err := d.get(asked)
		if err != nil {
			return err
		}
		second := got.Images2
		if second == nil || second.DType != tensor.U8 || !second.Shape.Equal(want.Images.Shape) {
			return fmt.Errorf("the second view is %s, want u8 %v", describe(second), want.Images.Shape)
		}
		if got.Images2 = nil; second != asked.Into2 {
			return errors.New("the second view is not where it was asked for")
		}
		if checkSame("", second, want.Images) == nil {
			return errors.New("the second view is the first")
		}
		if err := differ("with and without a second view", want, got); err != nil {
			return err
		}
		asked.Into2 = nil
		again, err := d.get(asked)
		if err != nil {
			return err
		}
		defer again.Images2.Free()
		return checkSame("the second view twice", second, again.Images2)
	})
}
