package graph

import (
	"maps"
	"slices"
	"time"

	G "gorgonia.org/gorgonia"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// CompileOptions say what a program computes and what it is bound to.
type CompileOptions struct {
	// Outputs lists what is read after Forward, by its place in this list.
	Outputs []*Node
	// Backward lists those of Outputs whose gradient the caller gives before Instance.Backward, in the order that
	// SetGrad counts. Empty for a forward-only program. A graph is differentiated once.
	Backward []*Node
	// WRT lists inputs whose gradient is wanted as well: InputGrad counts them in this order.
	WRT []*Node
	// Frozen names parameters that get no gradient; nil freezes none.
	Frozen func(name string) bool
	// Params and States hold the graph's parameters and states, found by name; a layout may hold more
	// than the graph uses. Params.Grads is needed where a parameter has a gradient.
	Params, States Store
	// Workspace holds what lives within one Forward or one Backward; programs that never run at the same time may
	// share it. Nil makes one for this program alone.
	Workspace *Workspace
	// Profile is as for Program.SetProfile.
	Profile func(Event)
	// NoReuse gives every value memory of its own: to check the planner.
	NoReuse bool
	// NoHalf keeps what products in bfloat16 alone read as Real: to check that the bits are the same.
	NoHalf bool
}

// Event describes one run of a kernel, for a profile.
type Event struct {
	Op       string // "linear", "attention.back"
	Scope    string // the part of the model: "transformer.resblocks.3.mlp"
	Backward bool
	FLOPs    float64
	Bytes    float64 // read and written, when Real is float32
	Start    time.Time
	Duration time.Duration
}

// MemoryPlan says how much memory a program needs, in bytes when Real is float32.
type MemoryPlan struct {
	Params, Grads, States int64 // of the program's stores, shared with other programs
	Constants             int64
	Activations           int64 // each instance: inputs, outputs and what the backward pass needs
	Workspace             int64 // shared by instances: what lives within one pass
	Accumulating          int64 // what Workspace is once Backward was in mode Accumulate
	Unshared              int64 // what Accumulating would be without reuse
}

// Mode says what Backward does with the gradients that are in Params.Grads already.
type Mode uint8

// The modes. Overwrite saves a pass over memory in the first Backward of a step; gradients of
// parameters that the program does not reach stay as they are in both.
const (
	Accumulate Mode = iota // add to them
	Overwrite              // replace them
)

// Compile turns a graph into a program. It returns the graph's first building error, fault.Invalid
// when options and graph disagree, and what Backend.Prepare and Backend.Alloc return.
func Compile(g *Graph, backend device.Backend, options CompileOptions) (*Program, error) {
	p, l, err := translate(g, backend, backend, options)
	if err != nil {
		return nil, err
	}
	if err := p.prepare(l); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Plan returns the memory that a graph's program would need. Of Params and States only the layouts count; the
// parameters' gradients are taken to be as long as Params. The backend says which values it keeps as Half and which kernels it
// fuses; nil does neither.
func Plan(g *Graph, backend device.Backend, options CompileOptions) (MemoryPlan, error) {
	p, _, err := translate(g, nil, backend, options)
	if err != nil {
		return MemoryPlan{}, err
	}
	return p.memory, nil
}

// translate makes the program but for its kernels and constants; without a backend it is good for its plan
// on target alone.
func translate(g *Graph, backend, target device.Backend, options CompileOptions) (*Program, *lowering, error) {
	if g.err != nil {
		return nil, nil, g.err
	}
	if err := options.check(g); err != nil {
		return nil, nil, err
	}
	d := &gradients{}
	if len(options.Backward) > 0 {
		var err error
		if d, err = g.differentiate(options.Backward, options.WRT, options.Frozen); err != nil {
			return nil, nil, err
		}
	}
	seen := map[*G.Node]bool{}
	forward := g.reach(options.Outputs, seen)
	var effects []effect
	keep := slices.Concat(options.Outputs, d.given, d.inputs)
	for _, e := range g.effects {
		if seen[e.source()] {
			effects = append(effects, e)
			keep = append(keep, e.value)
			forward = append(forward, g.reach(append(e.targets[:len(e.targets):len(e.targets)], e.value), seen)...)
		}
	}
	var roots []*Node
	for _, name := range d.names() {
		roots = append(roots, d.params[name])
	}
	roots = append(roots, d.inputs...)
	backward := g.reach(slices.Concat(roots, d.given), seen)
	fuser, _ := target.(device.Fuser)
	l, err := g.lower(forward, backward, slices.Concat(keep, roots), fuser)
	if err != nil {
		return nil, nil, err
	}
	if g.options.BF16 {
		l.attendBF16(target)
	}
	if b, ok := target.(device.Halver); ok && !options.NoHalf {
		l.halve(b)
	}
	p := &Program{backend: backend, workspace: options.Workspace, profile: options.Profile, params: options.Params.Values,
		grads: options.Params.Grads, states: options.States.Values, inputs: map[string]*storage{}}
	for _, n := range g.inputs {
		p.inputs[n.Name()] = l.storageOf(n)
	}
	for _, n := range options.Outputs {
		p.outputs = append(p.outputs, l.storageOf(n))
	}
	for _, n := range d.given {
		p.given = append(p.given, l.storageOf(n))
	}
	for _, n := range d.inputs {
		p.inputGrads = append(p.inputGrads, l.storageOf(n))
	}
	if err := p.bindStores(l, options); err != nil {
		return nil, nil, err
	}
	if err := p.plan(l, d, options); err != nil {
		return nil, nil, err
	}
	p.addEffects(l, effects)
	return p, l, nil
}

func (o *CompileOptions) check(g *Graph) error {
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithOp("compile")
	}
	if len(o.Outputs) == 0 {
		return invalid("a program needs at least one output")
	}
	for _, n := range slices.Concat(o.Outputs, o.Backward, o.WRT) {
		if n == nil || n.raw == nil || n.g != g {
			return invalid("an output or input is not a node of the graph")
		}
		if n.dtype != device.Real {
			return invalid("%s is %s, want real", n, n.dtype)
		}
	}
	for i, n := range o.Backward {
		same := func(m *Node) bool { return m.raw == n.raw }
		if !slices.ContainsFunc(o.Outputs, same) || slices.ContainsFunc(o.Backward[:i], same) {
			return invalid("%s is differentiated, but not (or twice) among the outputs", n)
		}
	}
	for _, n := range o.WRT {
		if l := g.leaves[n.raw]; l == nil || l.kind != leafInput {
			return invalid("%s is not an input; parameters are differentiated anyway", n)
		}
	}
	return nil
}

// names returns the parameters that have a gradient, sorted.
func (d *gradients) names() []string { return slices.Sorted(maps.Keys(d.params)) }

// bindStores finds parameters and states in their layouts.
func (p *Program) bindStores(l *lowering, options CompileOptions) error {
	for _, s := range l.all {
		if s.leaf == nil || s.place != inParams && s.place != inStates {
			continue
		}
		store, what := options.Params, "parameter"
		if s.place == inStates {
			store, what = options.States, "state"
		}
		e, ok := store.Layout.Find(s.leaf.name)
		if !ok || e.N != s.size {
			return fault.New(fault.Invalid, "%s %s of %d elements is not in the layout (found %d)", what, s.leaf.name, s.size, e.N).
				WithOp("compile")
		}
		if p.backend != nil && (store.Values == nil || store.Values.Len() < e.Off+e.N) {
			return fault.New(fault.Invalid, "the buffer of %ss is too short for %s", what, s.leaf.name).WithOp("compile")
		}
		s.off = e.Off
	}
	return nil
}
