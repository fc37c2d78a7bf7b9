package graph

import (
	"fmt"
	"time"

	"tandem/core/device"
)

// Instance is one set of activations of a program. From its Forward until its last Backward it must
// not be used for another Forward; other instances may run meanwhile.
type Instance struct {
	prog    *Program
	buffer  device.Buffer
	buffers map[*storage]device.Buffer // of this instance
	version int                        // of the workspace that the calls are bound to

	forward, effects               []call
	backwardAdd, backwardOverwrite []call
}

// call is one kernel bound to memory.
type call struct {
	step *step
	exec device.Exec
	args []device.Buffer
}

// NewInstance allocates a set of activations.
func (p *Program) NewInstance() (*Instance, error) {
	i := &Instance{prog: p, buffers: map[*storage]device.Buffer{}, version: -1}
	if p.instanceSize > 0 {
		var err error
		if i.buffer, err = p.backend.Alloc(device.Real, p.instanceSize); err != nil {
			return nil, err
		}
	}
	for _, s := range p.activations {
		i.buffers[s] = p.backend.View(i.buffer, s.off, s.size)
	}
	for _, s := range p.own {
		b, err := p.backend.Alloc(s.dtype, s.size)
		if err != nil {
			i.Close()
			return nil, err
		}
		i.buffers[s] = b
	}
	if err := i.bind(Overwrite); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Close frees the activations.
func (i *Instance) Close() {
	for _, s := range i.prog.own {
		if b := i.buffers[s]; b != nil {
			i.prog.backend.Free(b)
		}
	}
	if i.buffer != nil {
		i.prog.backend.Free(i.buffer)
	}
	i.buffer, i.buffers = nil, nil
}

// bind makes the calls when the workspace is new or has moved, those of a Backward that adds when it is
// the first.
func (i *Instance) bind(mode Mode) error {
	p := i.prog
	if err := p.workspace.reserve(p.workspaceSize[mode]); err != nil {
		return err
	}
	if i.version != p.workspace.version {
		i.version = p.workspace.version
		i.forward, i.effects = i.calls(p.forward, false), i.calls(p.effects, false)
		i.backwardOverwrite, i.backwardAdd = i.calls(p.backward, true), nil
		for _, a := range p.rest {
			i.backwardOverwrite = append(i.backwardOverwrite,
				call{step: &step{name: "copy", outs: 1}, args: []device.Buffer{i.of(a.from), a.into}})
		}
	}
	if mode == Accumulate && i.backwardAdd == nil {
		i.bindAdd()
	}
	return nil
}

func (i *Instance) bindAdd() {
	p := i.prog
	for k, c := range i.calls(p.backward, false) {
		i.backwardAdd = append(i.backwardAdd, c)
		for _, a := range p.accumulate[p.backward[k]] {
			i.backwardAdd = append(i.backwardAdd, i.accumulation(a))
		}
	}
	for _, a := range p.rest {
		i.backwardAdd = append(i.backwardAdd, i.accumulation(a))
	}
}

func (i *Instance) accumulation(a *accumulation) call {
	st := &step{name: "accumulate", kernel: device.Accumulate{N: a.entry.N}, outs: 1, exec: a.exec}
	return call{step: st, exec: a.exec, args: []device.Buffer{i.of(a.from), a.into}}
}

func (i *Instance) calls(steps []*step, overwrite bool) []call {
	list := make([]call, len(steps))
	for k, st := range steps {
		args := make([]device.Buffer, len(st.args))
		for j, s := range st.args {
			switch {
			case s == nil:
			case overwrite && s.grad != nil:
				args[j] = i.prog.backend.View(i.prog.grads, s.grad.Off, s.grad.N)
			default:
				args[j] = i.of(s)
			}
		}
		list[k] = call{step: st, exec: st.exec, args: args}
	}
	return list
}

// of is the memory of a storage; that of the workspace is valid until it moves.
func (i *Instance) of(s *storage) device.Buffer {
	if b := i.prog.views[s]; b != nil {
		return b
	}
	root := s.root()
	if b := i.buffers[root]; b != nil {
		return b
	}
	return i.prog.backend.View(i.prog.workspace.buffer, root.off, root.size)
}

// SetInput copies host values into an input: []float32, []uint8 or []int32 of its size. It panics
// when there is no such input or the size differs. Inputs that the outputs do not depend on are
// accepted and ignored.
func (i *Instance) SetInput(name string, values any) {
	if b := i.Input(name); b != nil {
		i.prog.backend.Write(b, values)
	}
}

// Input is the device memory of an input, to be written in place; nil when the outputs do not depend
// on it. It panics when there is no such input.
func (i *Instance) Input(name string) device.Buffer {
	s, ok := i.prog.inputs[name]
	if !ok {
		panic(fmt.Sprintf("graph: no input %q", name))
	}
	if s == nil {
		return nil
	}
	return i.of(s)
}

// Forward computes the outputs. Errors are those of Backend.Alloc, when the shared workspace must
// grow, and of operations that run on the host.
func (i *Instance) Forward() error {
	if err := i.bind(Overwrite); err != nil {
		return err
	}
	return i.run(i.forward, false)
}

// Update applies the graph's assignments (running statistics) with values of the last Forward. Call
// it at most once per sample and training step, before the instance's next Forward.
func (i *Instance) Update() error { return i.run(i.effects, false) }

// Output is output k of the last Forward, valid until the instance's next Forward.
func (i *Instance) Output(k int) device.Buffer { return i.of(i.prog.outputs[k]) }

// Read copies output k into values ([]float32 of its size).
func (i *Instance) Read(k int, values any) { i.prog.backend.Read(values, i.Output(k)) }

// Grad is the memory for the gradient of CompileOptions.Backward[k], to be written before Backward.
func (i *Instance) Grad(k int) device.Buffer { return i.of(i.prog.given[k]) }

// SetGrad copies host values into Grad(k).
func (i *Instance) SetGrad(k int, values any) { i.prog.backend.Write(i.Grad(k), values) }

// Backward computes parameter gradients into Params.Grads as mode says, and the gradients of
// CompileOptions.WRT. It needs the Forward of this instance, and may be called again after it.
// Errors are as for Forward.
func (i *Instance) Backward(mode Mode) error {
	if err := i.bind(mode); err != nil {
		return err
	}
	if mode == Overwrite {
		return i.run(i.backwardOverwrite, true)
	}
	return i.run(i.backwardAdd, true)
}

// InputGrad is the gradient of CompileOptions.WRT[k], valid until the instance's next Forward.
func (i *Instance) InputGrad(k int) device.Buffer { return i.of(i.prog.inputGrads[k]) }

func (i *Instance) run(calls []call, backward bool) error {
	backend, profile := i.prog.backend, i.prog.profile
	for k := range calls {
		c := &calls[k]
		start := time.Time{}
		if profile != nil {
			start = time.Now()
		}
		switch {
		case c.exec != nil:
			c.exec.Run(c.args, c.step.scalars...)
		case c.step.host != nil:
			if err := c.step.host.run(backend, c.args[:c.step.outs], c.args[c.step.outs]); err != nil {
				return err
			}
		default:
			backend.Copy(c.args[1], c.args[0])
		}
		if profile != nil {
			profile(c.event(backward, start))
		}
	}
	return nil
}

func (c *call) event(backward bool, start time.Time) Event {
	e := Event{Op: c.step.name, Scope: c.step.scope, Backward: backward, FLOPs: flops(c.step.kernel), Start: start, Duration: time.Since(start)}
	for _, b := range c.args {
		if b != nil {
			e.Bytes += float64(b.Len() * b.DType().Size())
		}
	}
	return e
}
