package labtest

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var _ clip.BucketedEncoder = (*tower)(nil)

// BackwardLast implements clip.BucketedEncoder.
func (e *tower) BackwardLast(ctx context.Context, t clip.Ticket, grad, _ *tensor.Tensor) error {
	err := e.Backward(ctx, t, grad)
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.passed)
	return err
}

// Gradients implements clip.Bucketed.
func (e *tower) Gradients(ctx context.Context, _ int, _ *tensor.Tensor) (*tensor.Tensor, error) {
	e.mu.Lock()
	passed := e.passed
	e.mu.Unlock()
	select {
	case <-passed:
	case <-ctx.Done():
		return nil, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return tensor.FromF32(slices.Clone(e.gradient), len(e.gradient)), nil
}

// StepWith implements clip.Bucketed.
func (e *tower) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	e.mu.Lock()
	copy(e.gradient, gradients[0].F32())
	e.passed = make(chan struct{})
	e.mu.Unlock()
	return e.Step(ctx, step, lr, scale)
}
