package tower

import (
	"context"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/optim"
	"tandem/core/fault"
)

// newOptimizer makes the optimiser of what is trained, nil when that is nothing. A bad configuration is fault.Invalid
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
	for _, e := range p.trained.Entries {
		segments = append(segments, optim.Segment{Off: e.Off, N: e.N, Decay: e.Off < p.decayed})
	}
	if len(segments) == 0 {
		return nil, nil
	}
	return optim.New(cfg, b, b.View(p.store.Values, 0, p.trained.Total), p.store.Grads, segments)
}

// slots are the optimiser's state, none when everything is frozen.
func (e *encoder) slots() []optim.State {
	if e.optim == nil {
		return nil
	}
	return e.optim.States()
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
	sum := e.optim.GradNormSquared()
	return sum, device.Err(e.backend)
}

// Step implements clip.Encoder.
func (e *encoder) Step(ctx context.Context, step int, lr, scale float64) error {
	if err := e.ready(ctx, "step"); err != nil {
		return err
	}
	if step < 1 {
		return fault.New(fault.Invalid, "step %d, want 1 or more", step).WithOp("step")
	}
	if e.optim == nil {
		return nil
	}
	if !e.touched {
		e.optim.ZeroGrad() // what the last step used is still there
	}
	start := time.Now()
	e.optim.Step(step, lr, scale)
	e.passes("step", 3+2*len(e.optim.States()), start) // gradients read; parameters and state read and written
	e.touched = false
	return device.Err(e.backend)
}
