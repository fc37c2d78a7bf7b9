package program

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/fault"
)

// Trained holds the optimiser of a plugin's parameters, and knows whether gradients have been accumulated for its
// next step. Until the first backward pass after a step the buffer holds old gradients, which count as zero. The
// zero value trains nothing.
type Trained struct {
	optimizer   *optim.Optimizer // nil: everything is frozen
	accumulated bool
}

// NewTrained makes the optimiser of the segments of params, with their gradients in grads; none when there are no
// segments. A bad configuration is fault.Invalid under "optimizer".
func NewTrained(o clip.Optimizer, b device.Backend, params, grads device.Buffer, segments []optim.Segment) (Trained, error) {
	c := optim.Config{
		Name: o.Name, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Momentum: o.Momentum,
	}
	if err := c.Check(); err != nil {
		if f, ok := err.(*fault.Error); ok {
			f.Path = "optimizer." + f.Path
		}
		return Trained{}, err
	}
	if len(segments) == 0 {
		return Trained{}, nil
	}
	optimizer, err := optim.New(c, b, params, grads, segments)
	return Trained{optimizer: optimizer}, err
}

// Trains reports whether there is anything to train.
func (t *Trained) Trains() bool { return t.optimizer != nil }

// States returns the optimiser's state; none when everything is frozen.
func (t *Trained) States() []optim.State {
	if t.optimizer == nil {
		return nil
	}
	return t.optimizer.States()
}

// Mode returns how the next backward pass treats the buffer of gradients.
func (t *Trained) Mode() graph.Mode {
	if t.accumulated {
		return graph.Accumulate
	}
	return graph.Overwrite
}

// ClearGradient sets the gradients to zero where the next backward pass would overwrite them and leave those of what
// it does not train, so that it adds to nothing but zeros.
func (t *Trained) ClearGradient() {
	if t.optimizer != nil && !t.accumulated {
		t.optimizer.ZeroGrad()
		t.accumulated = true
	}
}

// Accumulated notes that a backward pass has added gradients.
func (t *Trained) Accumulated() { t.accumulated = true }

// Forget drops the accumulated gradients.
func (t *Trained) Forget() { t.accumulated = false }

// HasGradient reports whether gradients have been accumulated since the last step.
func (t *Trained) HasGradient() bool { return t.optimizer != nil && t.accumulated }

// GradNormSquared returns the sum of squares of the accumulated gradients.
func (t *Trained) GradNormSquared() float64 {
	if !t.HasGradient() {
		return 0
	}
	return t.optimizer.GradNormSquared()
}

// CheckStep demands that steps count from 1.
func (t *Trained) CheckStep(step int) error {
	if step < 1 {
		return fault.New(fault.Invalid, "step %d, want 1 or more", step).WithOp("step")
	}
	return nil
}

// Step takes one step of the optimiser (optim.Optimizer.Step); nothing when everything is frozen. The gradients count
// as zero afterwards.
func (t *Trained) Step(step int, lr, scale float64) {
	if t.optimizer == nil {
		return
	}
	if !t.accumulated {
		t.optimizer.ZeroGrad() // what the last step used is still there
	}
	t.optimizer.Step(step, lr, scale)
	t.accumulated = false
}

// StepAlong does as Step, with gradients that are in pieces elsewhere and not in the buffer (optim.Optimizer.StepAlong).
func (t *Trained) StepAlong(step int, lr, scale float64, pieces []optim.Piece) error {
	t.accumulated = false
	if t.optimizer == nil {
		return nil
	}
	return t.optimizer.StepAlong(step, lr, scale, pieces)
}

// Close frees the optimiser's state.
func (t *Trained) Close() {
	if t.optimizer != nil {
		t.optimizer.Close()
	}
}
