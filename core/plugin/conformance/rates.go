package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// opened calls f with an instance of its own.
func (c encoderCase) opened(opt clip.Optimizer, f func(*trial) error) error {
	e, err := c.open(opt, 1)
	if err != nil {
		return err
	}
	return errors.Join(f(e), e.Close())
}

// rates checks what parameter groups say beyond a scale for all: the first that matches counts, a glob that matches
// nothing is named by its place, layers learn at rates of their own, and a weight decay decays.
func (c encoderCase) rates() error {
	if !slices.Contains(c.o.Capabilities, clip.CapGroups) {
		return notChecked("it has no parameter groups")
	}
	two, three, half := 2., 3., .5
	grouped, layered, bad, decayed := sgd, sgd, sgd, sgd
	grouped.Groups = []clip.ParamGroup{{Params: []string{"*"}, LRScale: &two}, {Params: []string{"*"}, LRScale: &three}}
	layered.LayerDecay = .5
	bad.Groups = []clip.ParamGroup{{Params: []string{"*"}}, {Params: []string{"*", "no such parameter"}, LRScale: &two}}
	decayed.Groups = []clip.ParamGroup{{Params: []string{"*"}, WeightDecay: &half}}
	plain, _, err1 := c.after(sgd, false, .02)
	first, _, err2 := c.after(grouped, false, .01)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := checkNear("half the rate in a first group that doubles it and a second that trebles it", first, plain, 1e-5); err != nil {
		return err
	}
	var f *fault.Error
	slowed, _, err := c.after(layered, false, .02)
	switch {
	case errors.As(err, &f) && f.Kind == fault.Invalid && f.Path == "optimizer.layer_decay": // a network without layers
	case err != nil:
		return fmt.Errorf("layer_decay: %w", err)
	case checkSame("", slowed, plain) == nil:
		return errors.New("layer_decay changes nothing")
	}
	e, err := c.open(bad, 1)
	if err == nil {
		e.Close()
	}
	if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Path != "optimizer.groups[1].params" {
		return fmt.Errorf("a glob of the second group that matches nothing: got %v, want an invalid configuration at optimizer.groups[1].params", err)
	}
	return c.opened(decayed, func(e *trial) error {
		before, err1 := e.saved()
		err2 := e.Step(ctx, 1, .5, 1)
		after, err3 := e.saved()
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if before == after {
			return errors.New("a step without gradients does not change parameters to which a group gives a weight decay")
		}
		return nil
	})
}

// averageKept checks that training is the same with and without an average, and that Load goes on with it.
func (c encoderCase) averageKept() error {
	if !slices.Contains(c.o.Capabilities, clip.CapEMA) {
		return notChecked("it keeps no averages")
	}
	averaged := sgd
	averaged.EMADecay = .5
	return c.opened(averaged, func(e *trial) error {
		start, err1 := e.eval()
		before, err2 := e.ema()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if err := checkSame("before the first step, the average and the parameters", before, start); err != nil {
			return err
		}
		if err := errors.Join(e.learn(1, .01), e.learn(2, .04)); err != nil {
			return err
		}
		live, err1 := e.eval()
		plain, _, err2 := c.after(sgd, false, .01, .04)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if err := checkSame("training with an average and without", live, plain); err != nil {
			return err
		}
		return savedIn(func(path string) error {
			if err := e.Save(ctx, path); err != nil {
				return fmt.Errorf("save: %w", err)
			}
			return c.opened(averaged, func(loaded *trial) error {
				if err := loaded.Load(ctx, path); err != nil {
					return fmt.Errorf("load: %w", err)
				}
				err := errors.Join(e.learn(3, .01), loaded.learn(3, .01))
				want, err1 := e.ema()
				got, err2 := loaded.ema()
				if err := errors.Join(err, err1, err2); err != nil {
					return err
				}
				return checkSame("the average after Load and a step, and without the interruption", got, want)
			})
		})
	})
}

// learn takes a training step.
func (e *trial) learn(n int, lr float64) error {
	return errors.Join(e.backward(e.cotangent(1)), e.Step(ctx, n, lr, 1))
}

// ema returns the embeddings by the averaged weights.
func (e *trial) ema() (*tensor.Tensor, error) {
	q := e.request(clip.Eval)
	q.EMA = true
	out, _, err := e.forward(q)
	return out, err
}

// saved returns what Save writes.
func (e *trial) saved() (content string, err error) {
	err = savedIn(func(path string) error {
		if err := e.Save(ctx, path); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		data, err := os.ReadFile(path)
		content = string(data)
		return err
	})
	return content, err
}
