package optim

import "tandem/core/engine/device"

// A Piece holds the gradients of parameters [Off, Off+Grads.Len()).
type Piece struct {
	Off   int
	Grads device.Buffer
}

// StepAlong does as Step, with gradients that are in pieces elsewhere. Parameters of which no piece has the gradient are not touched.
// Prepare's errors pass; nothing is changed then.
func (o *Optimizer) StepAlong(step int, lr, gradScale float64, pieces []Piece) error {
	type part struct {
		s    span
		exec device.Exec
		args []device.Buffer
	}
	var parts []part
	for _, p := range pieces {
		for _, s := range o.spans {
			from, to := max(p.Off, s.off), min(p.Off+p.Grads.Len(), s.off+s.n)
			if from >= to {
				continue
			}
			exec, err := o.kernelFor(to - from)
			if err != nil {
				return err
			}
			args := []device.Buffer{o.backend.View(p.Grads, from-p.Off, to-from)}
			for _, whole := range s.args[1:] {
				args = append(args, o.backend.View(whole, from-s.off, to-from))
			}
			parts = append(parts, part{s, exec, args})
		}
	}
	for _, p := range parts {
		o.run(p.s, p.exec, p.args, step, lr, gradScale)
	}
	o.backend.ParamsChanged()
	return nil
}

// kernelFor returns the kernel that steps n parameters.
func (o *Optimizer) kernelFor(n int) (device.Exec, error) {
	if exec, ok := o.kernels[n]; ok {
		return exec, nil
	}
	exec, err := o.backend.Prepare(o.cfg.kernel(n))
	if err == nil {
		o.kernels[n] = exec
	}
	return exec, err
}
