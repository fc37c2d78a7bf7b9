package conformance

import (
	"errors"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// lateStart checks that a group stays as it is before its start, and that its first step is that of an encoder which begins
// there.
func (c encoderCase) lateStart() error {
	if !slices.Contains(c.o.Capabilities, clip.CapStart) {
		return notChecked("its parameters all start at once")
	}
	late := adamw
	late.Groups = []clip.ParamGroup{{Params: []string{"*"}, Start: 1}}
	var want, got *tensor.Tensor
	if err := c.opened(adamw, func(e *trial) (err error) {
		if err = e.learnAt(1, 1, .02); err == nil {
			want, err = e.eval()
		}
		return err
	}); err != nil {
		return err
	}
	if err := c.opened(late, func(e *trial) error {
		before, err1 := e.eval()
		err2 := e.learnAt(0, 1, .05)
		after, err3 := e.eval()
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		if err := checkSame("embeddings before and after a step before the start", before, after); err != nil {
			return err
		}
		if err := e.learnAt(1, 2, .02); err != nil {
			return err
		}
		var err error
		got, err = e.eval()
		return err
	}); err != nil {
		return err
	}
	return checkNear("the first step after the start and a first step", got, want, 1e-5)
}

// learnAt takes step n of the optimiser on a batch with the random numbers of a step, which counts from 0.
func (e *trial) learnAt(step, n int, lr float64) error {
	q := e.request(clip.Train)
	q.Step = step
	_, ticket, err := e.forward(q)
	if err != nil {
		return err
	}
	return errors.Join(e.Backward(ctx, ticket, e.cotangent(1)), e.Step(ctx, n, lr, 1))
}

// adapters checks low-rank adapters: the encoder begins as it is without them and computes with them, trains few of its
// parameters, goes on with them after Load, and refuses those that no matrix can have.
func (c encoderCase) adapters() error {
	if !slices.Contains(c.o.Capabilities, clip.CapLoRA) {
		return notChecked("it has no low-rank adapters")
	}
	adapted := func(cfg *clip.EncoderConfig) {
		cfg.LoRA = &clip.LoRA{Rank: 1, Alpha: 2, Targets: []string{"*"}}
	}
	cfg := c.config(sgd, 1)
	adapted(&cfg)
	e, err := c.openWith(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	if trained := e.info.Parameters - e.info.Frozen; trained < 1 || e.info.Frozen == 0 {
		return fmt.Errorf("%d parameters, of which %d are frozen; want all but those of the adapters", e.info.Parameters, e.info.Frozen)
	}
	var plain, begun error
	if err := c.opened(sgd, func(p *trial) error {
		want, err1 := p.eval()
		got, err2 := e.eval()
		begun = errors.Join(err1, err2)
		if begun == nil {
			plain = checkNear("embeddings with new adapters and without", got, want, 1e-5)
		}
		return nil
	}); err != nil || begun != nil || plain != nil {
		return errors.Join(err, begun, plain)
	}
	before, err1 := e.eval()
	err2 := errors.Join(e.learn(1, .05), e.learn(2, .05))
	after, err3 := e.eval()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if checkSame("", before, after) == nil {
		return errors.New("steps change no adapter")
	}
	for what, change := range map[string]func(*clip.LoRA){
		"a rank of 0":                   func(l *clip.LoRA) { l.Rank = 0 },
		"a target that matches nothing": func(l *clip.LoRA) { l.Targets = []string{"*", "no such parameter"} },
	} {
		if err := c.refuses(what, func(cfg *clip.EncoderConfig) {
			adapted(cfg)
			change(cfg.LoRA)
		}); err != nil {
			return err
		}
	}
	return nil
}
