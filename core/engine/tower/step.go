package tower

import (
	"context"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/program"
)

// newTrained makes the optimiser of what is trained, none when that is nothing.
func newTrained(b device.Backend, p *params, o clip.Optimizer) (program.Trained, error) {
	values := p.store.Values
	if len(p.segments) > 0 {
		values = b.View(values, 0, p.trained.Total)
	}
	return program.NewTrained(o, b, values, p.store.Grads, p.segments)
}

// GradNorm implements clip.Encoder.
func (e *encoder) GradNorm(ctx context.Context) (float64, error) {
	if err := e.ready(ctx, "gradient norm"); err != nil {
		return 0, err
	}
	if !e.trained.HasGradient() {
		return 0, nil
	}
	defer e.notePasses("grad norm", 1, time.Now())
	sum := e.trained.GradNormSquared()
	return sum, device.Err(e.session.Backend)
}

// Step implements clip.Encoder.
func (e *encoder) Step(ctx context.Context, step int, lr, scale float64) error {
	if err := e.ready(ctx, "step"); err != nil {
		return err
	}
	if err := e.trained.CheckStep(step); err != nil {
		return err
	}
	return e.step(func() error { e.trained.Step(step, lr, scale); return nil })
}

// step takes a step of the optimiser, and the average of the parameters along.
func (e *encoder) step(optimise func() error) error {
	if !e.trained.Trains() {
		return nil
	}
	e.buckets.stepped()
	start := time.Now()
	if err := optimise(); err != nil {
		return err
	}
	e.notePasses("step", 3+2*len(e.trained.States()), start) // gradients read; parameters and state read and written
	if average := e.params.average; average != nil {
		start = time.Now()
		average.Update()
		e.notePasses("average", 3, start)
	}
	return device.Err(e.session.Backend)
}
