package train

import (
	"context"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// backwardTogether runs the last backward pass of a step in the towers of this rank and adds up the gradients of all ranks,
// each bucket as soon as the pass adds no more to it. The sums come in one order on all ranks: the image tower's buckets, then the text
// tower's. They wait for the passes of towers that exchange themselves. It fills in the norms.
func (t *Trainer) backwardTogether(ctx context.Context, outs, grads []output, squares *norms) error {
	all, ctx := errgroup.WithContext(ctx)
	var ready [firstTeacher]chan *tensor.Tensor
	var passed [firstTeacher]chan struct{}
	for i := range ready {
		ready[i] = make(chan *tensor.Tensor, len(t.ranks.sums[i])) // nobody waits to put one in
		passed[i] = make(chan struct{})
	}
	all.Go(fault.Safely(func() error {
		return t.each(ctx, firstTeacher, func(ctx context.Context, i int) error {
			if t.frozen(i) {
				close(passed[i])
				return nil
			}
			lane := t.lanes[i]
			for _, k := range lane[:len(lane)-1] {
				if err := giveBack(ctx, t.encoders()[i], outs[k].ticket, outs[k].gradient(grads[k]), nil); err != nil {
					return err
				}
			}
			k := lane[len(lane)-1]
			err := t.backwardInBuckets(ctx, i, outs[k].ticket, outs[k].gradient(grads[k]), ready[i], passed[i])
			if err == nil && t.parts.Groups[i] {
				squares[i], err = t.encoders()[i].GradNorm(ctx)
			}
			return err
		})
	}))
	all.Go(fault.Safely(func() error {
		for i, exchanges := range t.parts.Exchanges {
			if !exchanges {
				continue
			}
			if _, err := receive(ctx, passed[i]); err != nil {
				return err
			}
		}
		for i, buckets := range ready {
			if t.parts.Groups[i] { // its norm is its own to fill in
				continue
			}
			for range cap(buckets) {
				sum, err := receive(ctx, buckets)
				if err != nil {
					return err
				}
				square, err := t.cfg.Group.Sum(ctx, sum.F32())
				if err != nil {
					return err
				}
				squares[i] += square
			}
			squares[i] = float64(float32(squares[i])) // as towers round theirs, so that clipping is that of one rank to the bit
		}
		return nil
	}))
	return all.Wait()
}

// receive waits for a value of a channel, or for the end of ctx.
func receive[T any](ctx context.Context, from <-chan T) (value T, err error) {
	select {
	case value = <-from:
		return value, nil
	case <-ctx.Done():
		return value, fault.New(fault.Canceled, "%w", context.Cause(ctx))
	}
}

// backwardInBuckets runs a tower's last backward pass and hands its buckets over, in their order, while it goes on. It closes
// passed after the pass.
func (t *Trainer) backwardInBuckets(ctx context.Context, tower int, ticket clip.Ticket, grad output, ready chan<- *tensor.Tensor, passed chan<- struct{}) error {
	e := t.encoders()[tower].(clip.BucketedEncoder)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(fault.Safely(func() error {
		err := e.BackwardLast(ctx, ticket, grad.embedding, grad.tokens)
		if err == nil {
			close(passed)
		}
		return err
	}))
	both.Go(fault.Safely(func() error {
		for b, before := range t.ranks.sums[tower] {
			own, err := e.Gradients(ctx, b, before)
			if err != nil {
				return err
			}
			if own.DType != tensor.F32 || own.Shape.Elements() != t.parts.Buckets[tower][b] {
				return fault.New(fault.Internal, "bucket %d of the %s tower is %v %v, want f32 of %d values",
					b, towerNames[tower], own.DType, own.Shape, t.parts.Buckets[tower][b])
			}
			if own != before {
				before.Free()
			}
			t.ranks.sums[tower][b] = own
			ready <- own
		}
		return nil
	}))
	return both.Wait()
}

// stepWithSums lets a tower take a step along the gradients of all ranks.
func (t *Trainer) stepWithSums(ctx context.Context, tower int, r StepReport, scale float64) error {
	if t.parts.Groups[tower] {
		return t.encoders()[tower].Step(ctx, r.Step, r.LR, scale)
	}
	return t.encoders()[tower].(clip.BucketedEncoder).StepWith(ctx, r.Step, r.LR, scale, t.ranks.sums[tower])
}
