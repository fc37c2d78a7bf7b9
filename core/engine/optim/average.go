package optim

import (
	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Average keeps a running average of parameters beside them, as torch.optim.swa_utils does with
// get_ema_multi_avg_fn: the first Update copies them, each later one computes
//
//	average ← average + (1 − decay)·(parameter − average)
type Average struct {
	backend        device.Backend
	params, values device.Buffer
	update         device.Exec
	args           []device.Buffer // of what is trained
	weight         float64
	begun          bool
}

// NewAverage makes an average of params, of which the first trained elements change. It begins anew (Restart). A decay
// outside [0, 1) is fault.Invalid; Alloc's errors pass.
func NewAverage(b device.Backend, decay float64, params device.Buffer, trained int) (*Average, error) {
	if !(decay >= 0 && decay < 1) {
		return nil, fault.New(fault.Invalid, "%v, want a number in [0, 1)", decay).WithPath("ema_decay")
	}
	a := &Average{backend: b, params: params, weight: 1 - decay}
	var err error
	if a.values, err = b.Alloc(device.Real, params.Len()); err != nil {
		return nil, err
	}
	a.args = []device.Buffer{b.View(params, 0, trained), b.View(a.values, 0, trained)}
	if a.update, err = b.Prepare(device.Average{N: trained}); err != nil {
		b.Free(a.values)
		return nil, err
	}
	a.Restart()
	return a, nil
}

// Values returns the average, as long as the parameters. Before the first Update it equals them as they were at the
// last Restart.
func (a *Average) Values() device.Buffer { return a.values }

// Begun reports whether there was an Update since the last Restart, or a Resume.
func (a *Average) Begun() bool { return a.begun }

// Update takes the parameters, which a step has changed, into the average.
func (a *Average) Update() {
	if a.begun {
		a.update.Run(a.args, a.weight)
	} else {
		a.backend.Copy(a.args[1], a.args[0])
	}
	a.begun = true
	a.backend.ParamsChanged()
}

// Restart forgets the average: other parameters were loaded.
func (a *Average) Restart() {
	a.backend.Copy(a.values, a.params)
	a.begun = false
	a.backend.ParamsChanged()
}

// Resume goes on from an average that was written to Values after a Restart.
func (a *Average) Resume() {
	a.begun = true
	a.backend.ParamsChanged()
}

// Close frees the average.
func (a *Average) Close() {
	a.backend.Free(a.values)
	if r, ok := a.update.(device.Releaser); ok {
		r.Release()
	}
	a.values, a.update = nil, nil
}
