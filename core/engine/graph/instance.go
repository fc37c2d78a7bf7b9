package graph

import (
	"fmt"

	"tandem/core/engine/device"
)

// An Instance holds one set of activations of a program. From its Forward until its last Backward it must not be used
// for another Forward; other instances may run meanwhile.
type Instance struct {
	prog      *Program
	buffer    device.Buffer
	buffers   map[*storage]device.Buffer // of this instance
	workspace *Workspace
	version   int // of the workspace that the calls are bound to

	forward, effects               *pass
	backwardAdd, backwardOverwrite *pass
}

// call binds one kernel to memory.
type call struct {
	step *step
	exec device.Exec
	args []device.Buffer
	// final are the parameters whose gradient is complete after it.
	final []*accumulation
}

// NewInstance allocates a set of activations.
func (p *Program) NewInstance() (*Instance, error) {
	i := &Instance{prog: p, buffers: map[*storage]device.Buffer{}, workspace: p.workspace, version: -1}
	if p.instanceSize > 0 {
		var err error
		if i.buffer, err = p.backend.Alloc(device.Real, p.instanceSize); err != nil {
			return nil, err
		}
	}
	for _, s := range p.activations {
		i.buffers[s] = p.view(i.buffer, s)
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
	i.release()
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

// release drops what was recorded on memory that goes.
func (i *Instance) release() {
	for _, p := range []*pass{i.forward, i.effects, i.backwardAdd, i.backwardOverwrite} {
		p.release()
	}
}

// bind makes the calls when the workspace is new or has moved, those of a Backward that adds when it is
// the first.
func (i *Instance) bind(mode Mode) error {
	p := i.prog
	if err := i.workspace.reserve(p.workspaceSize[mode]); err != nil {
		return err
	}
	if i.version != i.workspace.version {
		i.release()
		i.version = i.workspace.version
		i.forward, i.effects = newPass(i.calls(p.forward, false), false), newPass(i.calls(p.effects, false), false)
		overwrite := i.calls(p.backward, true)
		for k := range overwrite {
			overwrite[k].final = p.accumulate[p.backward[k]]
		}
		for _, a := range p.rest {
			overwrite = append(overwrite, call{step: &step{name: "copy", outs: 1}, args: []device.Buffer{i.memory(a.from), a.into}, final: []*accumulation{a}})
		}
		i.backwardOverwrite, i.backwardAdd = newPass(overwrite, true), nil
	}
	if mode == Accumulate && i.backwardAdd == nil {
		i.bindAdd()
	}
	return nil
}

func (i *Instance) bindAdd() {
	p := i.prog
	var add []call
	for k, c := range i.calls(p.backward, false) {
		add = append(add, c)
		for _, a := range p.accumulate[p.backward[k]] {
			add = append(add, i.accumulation(a))
		}
	}
	for _, a := range p.rest {
		add = append(add, i.accumulation(a))
	}
	i.backwardAdd = newPass(add, true)
}

func (i *Instance) accumulation(a *accumulation) call {
	st := &step{name: "accumulate", kernel: device.Accumulate{N: a.entry.N}, outs: 1, exec: a.exec}
	return call{step: st, exec: a.exec, args: []device.Buffer{i.memory(a.from), a.into}, final: []*accumulation{a}}
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
				args[j] = i.memory(s)
			}
		}
		list[k] = call{step: st, exec: st.exec, args: args}
	}
	return list
}

// memory returns the memory of a storage; that of the workspace is valid until it moves.
func (i *Instance) memory(s *storage) device.Buffer {
	if b := i.prog.views[s]; b != nil {
		return b
	}
	root := s.root()
	if b := i.buffers[root]; b != nil {
		return b
	}
	return i.prog.view(i.workspace.buffer, root)
}

// SetInput copies host values into an input: []float32, []uint8 or []int32 of its size. It panics
// when there is no such input or the size differs. Inputs that the outputs do not depend on are
// accepted and ignored.
func (i *Instance) SetInput(name string, values any) {
	if b := i.Input(name); b != nil {
		i.prog.backend.Write(b, values)
	}
}

// Input returns the device memory of an input, to be written in place; nil when the outputs do not depend on it. It
// panics when there is no such input.
func (i *Instance) Input(name string) device.Buffer {
	s, ok := i.prog.inputs[name]
	if !ok {
		panic(fmt.Sprintf("graph: no input %q", name))
	}
	if s == nil {
		return nil
	}
	return i.memory(s)
}

// Forward computes the outputs. Errors are those of Backend.Alloc, when the shared workspace must
// grow, of operations that run on the host, and of device.Asynchronous.
func (i *Instance) Forward() error {
	if err := i.bind(Overwrite); err != nil {
		return err
	}
	return i.run(i.forward)
}

// Update applies the graph's assignments (running statistics) with values of the last Forward. Call
// it at most once per sample and training step, before the instance's next Forward.
func (i *Instance) Update() error { return i.run(i.effects) }

// Output returns output k of the last Forward, valid until the instance's next Forward.
func (i *Instance) Output(k int) device.Buffer { return i.memory(i.prog.outputs[k]) }

// Read copies output k into values ([]float32 of its size), as device.Read does.
func (i *Instance) Read(k int, values any) error {
	return device.Read(i.prog.backend, values, i.Output(k))
}

// Grad returns the memory for the gradient of CompileOptions.Backward[k], to be written before Backward.
func (i *Instance) Grad(k int) device.Buffer { return i.memory(i.prog.given[k]) }

// SetGrad copies host values into Grad(k).
func (i *Instance) SetGrad(k int, values any) { i.prog.backend.Write(i.Grad(k), values) }

// Backward computes parameter gradients into Params.Grads as mode says, and the gradients of
// CompileOptions.WRT. It needs the Forward of this instance, and may be called again after it.
// Errors are as for Forward.
func (i *Instance) Backward(mode Mode) error { return i.BackwardTelling(mode, nil) }

// BackwardTelling does what Backward does, and calls final with the name of each of Program.Gradients when the work that
// completes its gradient was done, or started on a backend that is Asynchronous. A pass that tells is not a recorded one.
func (i *Instance) BackwardTelling(mode Mode, final func(param string)) error {
	if err := i.bind(mode); err != nil {
		return err
	}
	p := i.backwardAdd
	if mode == Overwrite {
		p = i.backwardOverwrite
	}
	return p.run(i.prog.backend, i.prog.profile, final)
}

// InputGrad returns the gradient of CompileOptions.WRT[k], valid until the instance's next Forward.
func (i *Instance) InputGrad(k int) device.Buffer { return i.memory(i.prog.inputGrads[k]) }

func (i *Instance) run(p *pass) error { return p.run(i.prog.backend, i.prog.profile, nil) }
