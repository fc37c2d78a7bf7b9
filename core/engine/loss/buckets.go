package loss

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var _ clip.Bucketed = (*Loss)(nil)

// Gradients implements clip.Bucketed. The one bucket holds the gradient of each scalar.
func (l *Loss) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	if err := l.ready(ctx, "gradients"); err != nil {
		return nil, err
	}
	if bucket != 0 || !l.params.Trains() {
		return nil, fault.New(fault.Invalid, "bucket %d of %d", bucket, len(l.bucketSizes())).WithOp("gradients")
	}
	out := program.Place(into, tensor.F32, len(l.def.Scalars))
	for i, s := range l.def.Scalars {
		out.F32()[i] = float32(l.params.grad(s.Name))
	}
	return out, device.Err(l.session.Backend)
}

// StepWith implements clip.Bucketed.
func (l *Loss) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	if err := l.ready(ctx, "step"); err != nil {
		return err
	}
	if err := program.CheckBuckets(gradients, l.bucketSizes()); err != nil {
		return err
	}
	if err := l.params.CheckStep(step); err != nil {
		return err
	}
	for _, g := range gradients {
		for i, s := range l.def.Scalars {
			l.session.Backend.Write(l.params.element(s.Name, l.params.store.Grads), g.F32()[i:i+1])
		}
		l.params.Accumulated()
	}
	return l.Step(ctx, step, lr, scale)
}

// bucketSizes returns the size of the one bucket, or nothing when nothing is learned.
func (l *Loss) bucketSizes() []int {
	if !l.params.Trains() {
		return nil
	}
	return []int{len(l.def.Scalars)}
}
