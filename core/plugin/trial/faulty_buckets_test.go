package trial_test

import (
	"context"
	"sync"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// gate is shut while tickets wait for a last backward pass.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil: it is open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Canceled, "%w", ctx.Err())
	}
}

// readBucket copies the only bucket out.
func (c faultConfig) readBucket(bucket int, g []float32) (*tensor.Tensor, error) {
	if bucket != 0 {
		return nil, fault.New(fault.Invalid, "bucket %d of 1", bucket)
	}
	out := tensor.New(tensor.F32, len(g))
	if copy(out.F32(), g); c.Fault == "half a bucket" {
		clear(out.F32()[:(len(g)+1)/2])
	}
	return out, nil
}

// writeBucket replaces gradients by the only bucket.
func (c faultConfig) writeBucket(g []float32, gradients []*tensor.Tensor) error {
	if len(gradients) != 1 || !gradients[0].Shape.Equal(tensor.Shape{len(g)}) {
		return fault.New(fault.Invalid, "other sizes than that of the bucket")
	}
	if c.Fault != "own gradients" {
		copy(g, gradients[0].F32())
	}
	return nil
}

func (l *linear) BackwardLast(ctx context.Context, t clip.Ticket, grad, _ *tensor.Tensor) error {
	defer l.gate.open()
	return l.Backward(ctx, t, grad)
}

func (l *linear) Gradients(ctx context.Context, bucket int, _ *tensor.Tensor) (*tensor.Tensor, error) {
	if l.Fault != "early bucket" {
		if err := l.gate.wait(ctx); err != nil {
			return nil, err
		}
	}
	return l.readBucket(bucket, l.g)
}

func (l *linear) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	if err := l.writeBucket(l.g, gradients); err != nil {
		return err
	}
	return l.Step(ctx, step, lr, scale)
}

func (l *squares) Gradients(_ context.Context, bucket int, _ *tensor.Tensor) (*tensor.Tensor, error) {
	return l.readBucket(bucket, []float32{float32(l.g)})
}

func (l *squares) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	g := []float32{float32(l.g)}
	if err := l.writeBucket(g, gradients); err != nil {
		return err
	}
	l.g = float64(g[0])
	return l.Step(ctx, step, lr, scale)
}
