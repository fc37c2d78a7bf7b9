package graph

import (
	"tandem/core/engine/device"
	"tandem/core/fault"
)

// A summing step adds values up over all who compute with it: the ranks and, on each, the instances that run together.
type summing interface {
	hostStep
	// values returns what one instance has to add.
	values(backend device.Backend, in []device.Buffer) ([]float64, error)
	// sum adds values up over the ranks, in place.
	sum(values []float64) error
	// finish computes an instance's outputs of the sums.
	finish(backend device.Backend, sums []float64, in, out []device.Buffer) error
}

// sumAlone does a summing step of one instance.
func sumAlone(s summing, backend device.Backend, in, out []device.Buffer) error {
	values, err := s.values(backend, in)
	if err != nil {
		return err
	}
	if err := s.sum(values); err != nil {
		return err
	}
	return s.finish(backend, values, in, out)
}

// ForwardTogether runs Forward of several instances of one program whose samples count as one batch: up to each batch
// normalisation one instance after another, then the sums of all. Sums are taken in the order of the list, as ranks take
// theirs, so that n instances on one rank compute what n ranks of one instance compute, to the bit. The instances need
// workspaces of their own (Instance.Use), and a program made with Options.Sum.
func ForwardTogether(list []*Instance) error {
	if len(list) == 1 {
		return list[0].Forward()
	}
	passes := make([]*pass, len(list))
	for k, i := range list {
		if err := i.bind(Overwrite); err != nil {
			return err
		}
		passes[k] = i.forward
	}
	return list[0].runTogether(passes, nil)
}

// BackwardTogether runs BackwardTelling of instances after ForwardTogether. Each adds its gradients to those of the instances
// before it; the first does as mode says.
func BackwardTogether(list []*Instance, mode Mode, final func(param string)) error {
	if len(list) == 1 {
		return list[0].BackwardTelling(mode, final)
	}
	passes := make([]*pass, len(list))
	for k, i := range list {
		if k > 0 {
			mode = Accumulate
		}
		if err := i.bind(mode); err != nil {
			return err
		}
		if passes[k] = i.backwardAdd; mode == Overwrite {
			passes[k] = i.backwardOverwrite
		}
	}
	return list[0].runTogether(passes, final)
}

// runTogether runs passes side by side. final is told of gradients when the last pass completes them.
func (i *Instance) runTogether(passes []*pass, final func(param string)) error {
	backend, profile := i.prog.backend, i.prog.profile
	at := make([]int, len(passes)) // the next call of each
	for {
		var m meeting
		for k, p := range passes {
			tell := final
			if k < len(passes)-1 {
				tell = nil
			}
			for met := false; at[k] < len(p.calls) && !met; at[k]++ {
				var err error
				if c := &p.calls[at[k]]; c.sums() {
					met, err = true, m.join(c, backend)
				} else {
					err = p.runCall(c, backend, profile, tell)
				}
				if err != nil {
					return err
				}
			}
		}
		switch len(m.calls) {
		case 0:
			return device.Err(backend)
		case len(passes):
			if err := m.finish(backend); err != nil {
				return err
			}
		default:
			return fault.New(fault.Internal, "%d of %d instances that run together meet at %s", len(m.calls), len(passes), m.calls[0].step.name).WithOp("graph")
		}
	}
}

// sums reports whether the call is of a summing step.
func (c *call) sums() bool {
	_, ok := c.step.host.(summing)
	return ok
}

// meeting is where passes that run together do the same summing step.
type meeting struct {
	calls []*call
	sums  []float64
}

// join adds a pass's values as soon as it is there: a later pass may add to what they are read from.
func (m *meeting) join(c *call, backend device.Backend) error {
	values, err := c.step.host.(summing).values(backend, c.inputs())
	if err != nil {
		return err
	}
	if m.calls = append(m.calls, c); len(m.calls) == 1 {
		m.sums = values
		return nil
	}
	if c.step != m.calls[0].step {
		return fault.New(fault.Internal, "instances that run together meet at %s and %s", m.calls[0].step.name, c.step.name).WithOp("graph")
	}
	for i, v := range values {
		m.sums[i] += v
	}
	return nil
}

// finish adds up over the ranks and gives every pass the sums.
func (m *meeting) finish(backend device.Backend) error {
	if err := m.calls[0].step.host.(summing).sum(m.sums); err != nil {
		return err
	}
	for _, c := range m.calls {
		if err := c.step.host.(summing).finish(backend, m.sums, c.inputs(), c.outputs()); err != nil {
			return err
		}
	}
	return nil
}

// Use makes the instance compute in a workspace other than the program's.
func (i *Instance) Use(w *Workspace) {
	if i.workspace != w {
		i.workspace, i.version = w, -1
	}
}
