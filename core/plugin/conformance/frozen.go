package conformance

import (
	"errors"
	"fmt"
	"slices"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// frozen checks an encoder that is frozen as a whole, where it can be: it gives no ticket and no gradient and
// does not change. When it says that its embeddings are fixed, they must depend on the samples alone.
func (c encoderCase) frozen() error {
	e, err := c.start()
	if err != nil {
		return err
	}
	defer e.Close()
	cfg := c.config(adamw, 1)
	cfg.Freeze = clip.Freeze{All: true}
	info, err := e.Configure(ctx, cfg)
	if err != nil || info.Frozen == 0 {
		return notChecked("it cannot be frozen") // an encoder without clip.CapFreeze is never asked
	}
	if info.Frozen != info.Parameters {
		return fmt.Errorf("%d of %d parameters are frozen, want all", info.Frozen, info.Parameters)
	}
	f := &trial{e, info, c.o}
	before, err := f.eval()
	if err != nil {
		return err
	}
	out, ticket, err := f.forward(f.request(clip.Train))
	if err != nil {
		return err
	}
	if ticket != 0 {
		return fmt.Errorf("ticket %d in mode Train, want none: there is nothing to go back for", ticket)
	}
	if n, err := e.GradNorm(ctx); err != nil || n != 0 {
		return fmt.Errorf("the squared gradient norm is %v, want 0 (%v)", n, err)
	}
	if err := e.Step(ctx, 1, .1, 1); err != nil {
		return fmt.Errorf("step: %w", err)
	}
	after, err := f.eval()
	if err != nil {
		return err
	}
	if err := checkSame("embeddings before and after a step", before, after); err != nil || !info.Fixed {
		return err
	}
	if err := checkSame("modes Train and Eval of a fixed encoder", out, after); err != nil {
		return err
	}
	return f.alone(after)
}

// alone checks that the embedding of every sample equals, to the bit, that in a batch of its own.
func (e *trial) alone(want *tensor.Tensor) error {
	q := e.request(clip.Train)
	for i := range e.o.Batch {
		one := clip.ForwardRequest{Mode: clip.Train, Step: 8}
		if q.Images != nil {
			one.Images = permuteRows(q.Images, []int{i})
		} else {
			one.Texts = q.Texts[i : i+1]
		}
		out, _, err := e.Forward(ctx, one)
		if err != nil {
			return fmt.Errorf("a batch of one: %w", err)
		}
		equal := slices.Equal(out.F32(), want.F32()[i*e.o.EmbedDim:(i+1)*e.o.EmbedDim])
		out.Free()
		if !equal {
			return errors.New("a fixed embedding depends on what else is in the batch")
		}
	}
	return nil
}
