package tower

import (
	"context"
	"time"

	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/fault"
	"tandem/core/optim"
)

// newOptimizer makes the optimiser of a tower's parameters. A bad configuration is fault.Invalid
// under "optimizer".
func newOptimizer(b device.Backend, p *params, o clip.Optimizer) (*optim.Optimizer, error) {
	cfg := optim.Config{
		Name: o.Name, WeightDecay: o.WeightDecay, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Momentum: o.Momentum,
	}
	if err := cfg.Check(); err != nil {
		if f, ok := err.(*fault.Error); ok {
			f.Path = "optimizer." + f.Path
		}
		return nil, err
	}
	var segments []optim.Segment
	for _, e := range p.store.Layout.Entries {
		segments = append(segments, optim.Segment{Off: e.Off, N: e.N, Decay: e.Off < p.decayed})
	}
	return optim.New(cfg, b, p.store.Values, p.store.Grads, segments)
}

// GradNorm implements clip.Encoder.
func (e *encoder) GradNorm(ctx context.Context) (float64, error) {
	if err := e.ready(ctx, "gradient norm"); err != nil {
		return 0, err
	}
	if !e.touched {
		return 0, nil
	}
	defer e.passes("grad norm", 1, time.Now())
	return e.optim.GradNormSquared(), nil
}

// Step implements clip.Encoder.
func (e *encoder) Step(ctx context.Context, step int, lr, scale float64) error {
	if err := e.ready(ctx, "step"); err != nil {
		return err
	}
	if step < 1 {
		return fault.New(fault.Invalid, "step %d, want 1 or more", step).WithOp("step")
	}
	if !e.touched {
		e.optim.ZeroGrad() // what the last step used is still there
	}
	start := time.Now()
	e.optim.Step(step, lr, scale)
	e.passes("step", 3+2*len(e.optim.States()), start) // gradients read; parameters and state read and written
	e.touched = false
	return nil
}
