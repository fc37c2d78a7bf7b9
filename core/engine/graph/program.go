package graph

import (
	"errors"
	"slices"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// A Program holds a compiled graph, bound to parameters. It and its instances are for one goroutine.
type Program struct {
	backend   device.Backend
	workspace *Workspace
	owned     bool // the workspace is this program's own
	profile   func(Event)

	forward, backward, effects []*step
	execs                      map[execKey]device.Exec
	accumulate                 map[*step][]*accumulation // after a step of backward
	rest                       []*accumulation           // gradients that no step can write in place

	params, grads, states, constants device.Buffer
	views                            map[*storage]device.Buffer // of the four above

	inputs                     map[string]*storage // nil for those that the outputs do not need
	outputs, given, inputGrads []*storage
	activations                []*storage // of one instance, in one buffer
	own                        []*storage // of one instance, each a buffer

	instanceSize                int
	workspaceSize               [2]int // by Mode of a Backward
	memory                      MemoryPlan
	forwardFLOPs, backwardFLOPs float64
}

// execKey tells kernels apart. A backend may keep packed weights in an Exec, so kernels on different
// weights are different.
type execKey struct {
	kernel  device.Kernel
	weights *storage
}

// accumulation adds the gradient of a parameter to what is in the flat buffer.
type accumulation struct {
	from  *storage
	entry Entry
	into  device.Buffer
	exec  device.Exec
}

// plan places every value.
func (p *Program) plan(l *lowering, d *gradients, options CompileOptions) error {
	l.findLifetimes()
	if err := p.planGrads(l, d, options); err != nil {
		return err
	}
	l.place()
	if !options.NoReuse {
		l.reuse()
	}
	p.activations, p.own = l.placedIn(inInstance), l.placedIn(inOwn)
	p.instanceSize = placeInLine(p.activations)
	forward, backward := l.placedIn(inForward), l.placedIn(inBackward)
	size, _ := pack(forward, !options.NoReuse)
	adding, overwriting := pack(backward, !options.NoReuse)
	p.workspaceSize = [2]int{Accumulate: max(size, adding), Overwrite: max(size, overwriting)}
	p.forward, p.backward = l.steps[:l.forward], l.steps[l.forward:]

	p.memory.Activations = int64(p.instanceSize) * 4
	for _, s := range p.own {
		p.memory.Activations += int64(s.size * s.dtype.Size())
	}
	p.memory.Workspace, p.memory.Accumulating = int64(p.workspaceSize[Overwrite])*4, int64(p.workspaceSize[Accumulate])*4
	var sums [2]int64
	for i, list := range [][]*storage{forward, backward} {
		for _, s := range list {
			sums[i] += int64(alignUp(s.realElements())) * 4
		}
	}
	p.memory.Unshared = max(sums[0], sums[1])
	p.memory.Params = int64(options.Params.Layout.Total) * 4
	p.memory.States = int64(options.States.Layout.Total) * 4
	if len(options.Backward) > 0 {
		p.memory.Grads = p.memory.Params
		if p.backend != nil {
			p.memory.Grads = int64(options.Params.Grads.Len()) * 4
		}
	}
	p.memory.Constants = int64(placeInLine(l.placedIn(inConstants))) * 4
	return nil
}

// planGrads decides which gradients steps write in place, and which are added at the end.
func (p *Program) planGrads(l *lowering, d *gradients, options CompileOptions) error {
	made := map[*storage]*step{}
	for _, st := range l.steps[l.forward:] {
		for _, s := range st.outputs() {
			made[s] = st
		}
	}
	p.accumulate = map[*step][]*accumulation{}
	for _, name := range d.names() {
		e, _ := options.Params.Layout.Find(name)
		s := l.storageOf(d.params[name])
		a := &accumulation{from: s, entry: e}
		if p.backend != nil {
			if p.grads == nil || p.grads.Len() < e.Off+e.N {
				return fault.New(fault.Invalid, "the buffer of gradients is missing or too short for %s", name).WithOp("compile")
			}
			a.into = p.backend.View(p.grads, e.Off, e.N)
		}
		if st := made[s]; st != nil && s.grad == nil && s.size == e.N && !slices.Contains(p.inputGrads, s) {
			s.grad = &a.entry
			p.accumulate[st] = append(p.accumulate[st], a)
		} else {
			p.rest = append(p.rest, a)
		}
	}
	return nil
}

func (p *Program) addEffects(l *lowering, effects []effect) {
	for _, e := range effects {
		st := &step{name: "update", scope: e.scope, kernel: e.kernel, args: []*storage{l.storageOf(e.value)}, outs: 1}
		for _, t := range e.targets {
			st.args = append(st.args, l.storageOf(t))
		}
		p.effects = append(p.effects, st)
	}
}

// prepare makes the kernels' execs and writes the constants.
func (p *Program) prepare(l *lowering) error {
	if p.workspace == nil {
		p.workspace, p.owned = NewWorkspace(p.backend), true
	}
	p.execs, p.views = map[execKey]device.Exec{}, map[*storage]device.Buffer{}
	for _, st := range slices.Concat(p.forward, p.backward, p.effects) {
		if st.kernel == nil {
			continue
		}
		var err error
		if st.exec, err = p.exec(execKey{st.kernel, weights(st)}); err != nil {
			var f *fault.Error
			if errors.As(err, &f) && f.Path == "" {
				f.Path = strings.TrimPrefix(st.scope+"."+st.name, ".")
			}
			return err
		}
	}
	for _, a := range p.accumulations() {
		var err error
		if a.exec, err = p.exec(execKey{kernel: device.Accumulate{N: a.entry.N}}); err != nil {
			return err
		}
	}
	for _, st := range p.forward {
		p.forwardFLOPs += device.FLOPs(st.kernel)
	}
	for _, st := range p.backward {
		p.backwardFLOPs += device.FLOPs(st.kernel)
	}
	constants := l.placedIn(inConstants)
	if n := placeInLine(constants); n > 0 {
		var err error
		if p.constants, err = p.backend.Alloc(device.Real, n); err != nil {
			return err
		}
		for _, s := range constants {
			p.backend.Write(p.backend.View(p.constants, s.off, s.size), s.value)
		}
	}
	for _, s := range l.all {
		if from := p.bufferOf(s.place); from != nil && (s.leaf != nil || s.place == inConstants) {
			p.views[s] = p.backend.View(from, s.off, s.size)
		}
	}
	return nil
}

// view returns the memory of a storage in the buffer that holds it.
func (p *Program) view(b device.Buffer, s *storage) device.Buffer {
	if s.dtype == device.Half {
		return p.backend.(device.Halver).HalfView(b, s.off, s.size)
	}
	return p.backend.View(b, s.off, s.size)
}

func (p *Program) bufferOf(place place) device.Buffer {
	switch place {
	case inParams:
		return p.params
	case inStates:
		return p.states
	case inConstants:
		return p.constants
	}
	return nil
}

func (p *Program) accumulations() []*accumulation {
	list := slices.Clone(p.rest)
	for _, st := range p.backward {
		list = append(list, p.accumulate[st]...)
	}
	return list
}

func (p *Program) exec(key execKey) (device.Exec, error) {
	if e, ok := p.execs[key]; ok {
		return e, nil
	}
	e, err := p.backend.Prepare(key.kernel)
	if err != nil {
		return nil, err
	}
	p.execs[key] = e
	return e, nil
}

// weights returns the parameter of which a backend may keep a packed copy for a step's kernel, nil if none.
func weights(st *step) *storage {
	d, _ := device.Describe(st.kernel)
	for i, s := range st.inputs() {
		if d.Weights.Has(i) && s.place == inParams {
			return s
		}
	}
	return nil
}

// Memory returns the program's plan of memory.
func (p *Program) Memory() MemoryPlan { return p.memory }

// FLOPs returns the floating-point operations of one Forward and one Backward in matrix products, convolutions and
// attention; a multiply-add counts two.
func (p *Program) FLOPs() (forward, backward float64) { return p.forwardFLOPs, p.backwardFLOPs }

// Gradients returns the names of the parameters of which Backward computes the gradient.
func (p *Program) Gradients() (names []string) {
	for _, a := range p.accumulations() {
		names = append(names, a.entry.Name)
	}
	return names
}

// SetProfile calls fn after each kernel from now on; nil ends it. Results are the same bits with and
// without.
func (p *Program) SetProfile(fn func(Event)) { p.profile = fn }

// Close frees what the program owns: kernels, constants and a workspace of its own. Instances are to
// be closed before.
func (p *Program) Close() {
	for _, e := range p.execs {
		if r, ok := e.(device.Releaser); ok {
			r.Release()
		}
	}
	p.execs = nil
	if p.constants != nil {
		p.backend.Free(p.constants)
		p.constants = nil
	}
	if p.owned {
		p.workspace.Close()
	}
}
