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
// tower's. It fills in the norms.
func (t *Trainer) backwardTogether(ctx context.Context, outs, grads []output, squares *norms) error {
	all, ctx := errgroup.WithContext(ctx)
	var ready [firstTeacher]chan *tensor.Tensor
	for i := range ready {
		ready[i] = make(chan *tensor.Tensor, len(t.ranks.sums[i])) // nobody waits to put one in
	}
	all.Go(fault.Safely(func() error {
		return t.each(ctx, firstTeacher, func(ctx context.Context, i int) error {
			if t.frozen(i) {
				return nil
			}
			lane := t.lanes[i]
			for _, k := range lane[:len(lane)-1] {
				if err := giveBack(ctx, t.encoders()[i], outs[k].ticket, grads[k], nil); err != nil {
					return err
				}
			}
			k := lane[len(lane)-1]
			return t.backwardInBuckets(ctx, i, outs[k].ticket, grads[k], ready[i])
		})
	}))
	all.Go(fault.Safely(func() error {
		for i, buckets := range ready {
			for range cap(buckets) {
				var sum *tensor.Tensor
				select {
				case sum = <-buckets:
				case <-ctx.Done():
					return fault.New(fault.Canceled, "%w", context.Cause(ctx))
				}
				square, err := t.cfg.Group.Sum(ctx, sum.F32())
				if err != nil {
					return err
				}
				squares[i] += square
			}
		}
		return nil
	}))
	return all.Wait()
}

// backwardInBuckets runs a tower's last backward pass and hands its buckets over, in their order, while it goes on.
func (t *Trainer) backwardInBuckets(ctx context.Context, tower int, ticket clip.Ticket, grad output, ready chan<- *tensor.Tensor) error {
	e := t.encoders()[tower].(clip.BucketedEncoder)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(fault.Safely(func() error { return e.BackwardLast(ctx, ticket, grad.embedding, grad.tokens) }))
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
	return t.encoders()[tower].(clip.BucketedEncoder).StepWith(ctx, r.Step, r.LR, scale, t.ranks.sums[tower])
}
