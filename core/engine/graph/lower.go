package graph

import (
	"cmp"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// A storage stands for the memory of one value, or of several that take over its place one after another.
type storage struct {
	size  int
	dtype device.DType
	place place
	off   int // in the buffer that place says
	// def and last number the first and last step that touch it; −1 is before the first.
	def, last int
	uses      int
	// keep says that something outside the steps reads it: an output, an update.
	keep  bool
	into  *storage // the storage this one shares in place, nil for itself
	again *storage // the storage whose value is computed again here; nil: it is the first
	leaf  *leaf
	value []float32 // of constants
	grad  *Entry    // the parameter whose gradient this is, when it can be written there directly
}

// place says where a storage lives.
type place uint8

const (
	inParams    place = iota
	inStates          //
	inConstants       // of the program
	inInstance        // activations
	inOwn             // an input of integers: a buffer of its own in each instance
	inForward         // the workspace, within one Forward
	inBackward        // the workspace, within one Backward
)

// realElements returns the storage's size in elements of Real.
func (s *storage) realElements() int {
	if s.dtype == device.Half {
		return device.HalfRoom(s.size)
	}
	return s.size
}

func (s *storage) root() *storage {
	for s.into != nil {
		s = s.into
	}
	return s
}

// first returns the storage that holds the value when it is computed first.
func (s *storage) first() *storage {
	if s.again != nil {
		return s.again
	}
	return s
}

// A step runs one kernel on storages.
type step struct {
	name    string
	scope   string
	segment int // that it, or the step that it differentiates, belongs to; 0: none
	kernel  device.Kernel
	host    hostStep // instead of kernel
	scalars []float64
	args    []*storage // in the kernel's order, nil where absent; inputs, then outputs
	outs    int        // first output in args
	exec    device.Exec
}

func (s *step) inputs() []*storage  { return s.args[:s.outs] }
func (s *step) outputs() []*storage { return s.args[s.outs:] }

// lowering turns nodes into steps.
type lowering struct {
	g        *Graph
	storages map[*G.Node][]*storage // by node: one for each output of its kernel
	all      []*storage
	used     map[*G.Node]bool // kernels of which a further output is used
	steps    []*step
	forward  int // the number of steps of the forward pass
}

// reach adds to seen all nodes that roots depend on and returns the new ones in order of construction,
// which is a topological order that no map can disturb.
func (g *Graph) reach(roots []*Node, seen map[*G.Node]bool) []*G.Node {
	var found []*G.Node
	var visit func(*G.Node)
	visit = func(raw *G.Node) {
		if seen[raw] {
			return
		}
		seen[raw] = true
		for _, c := range g.children(raw) {
			visit(c)
		}
		found = append(found, raw)
	}
	for _, n := range roots {
		visit(n.raw)
	}
	slices.SortFunc(found, func(a, b *G.Node) int { return cmp.Compare(a.ID(), b.ID()) })
	return found
}

// lower makes the steps of forward nodes, then of backward nodes. keep are nodes that are read from
// outside. fuser says which kernels the backend has that others lack; nil: none.
func (g *Graph) lower(forward, backward []*G.Node, keep []*Node, fuser device.Fuser) (*lowering, error) {
	l := &lowering{g: g, storages: map[*G.Node][]*storage{}, used: map[*G.Node]bool{}}
	for _, raw := range slices.Concat(forward, backward) {
		if o, ok := raw.Op().(*op); ok && o.part != noPart {
			l.used[o.in[0].raw] = true
		}
	}
	for i, list := range [][]*G.Node{forward, backward} {
		for _, raw := range list {
			if err := l.lowerNode(raw); err != nil {
				return nil, err
			}
		}
		if i == 0 {
			l.forward = len(l.steps)
		}
	}
	for _, n := range keep {
		if s := l.storageOf(n); s != nil {
			s.keep = true
		}
	}
	// Both passes are known now, and with them how often each value is used.
	head, tail := fuse(l.steps[:l.forward:l.forward]), fuse(l.steps[l.forward:])
	if fuser != nil {
		tail = fuseGradients(tail, fuser)
	}
	l.steps, l.forward = slices.Concat(head, tail), len(head)
	if g.options.Checkpointing {
		l.recompute()
	}
	return l, nil
}

// storageOf returns the storage of a node's value, nil when the program does not compute it.
func (l *lowering) storageOf(n *Node) *storage {
	if s := l.storages[n.raw]; s != nil {
		return s[0]
	}
	return nil
}

func (l *lowering) addStorage(s *storage) *storage {
	s.def, s.last = -1, -1
	l.all = append(l.all, s)
	return s
}

func (l *lowering) lowerNode(raw *G.Node) error {
	if f := l.g.leaves[raw]; f != nil {
		l.storages[raw] = []*storage{l.addStorage(leafStorage(l.g.wrap(raw), f))}
		return nil
	}
	if isConstant(raw) {
		values, err := constantValues(raw)
		if err != nil {
			return err
		}
		l.storages[raw] = []*storage{l.addStorage(&storage{size: len(values), place: inConstants, value: values})}
		return nil
	}
	children := l.g.children(raw)
	in := make([]*storage, len(children))
	for i, c := range children {
		in[i] = l.storages[c][0]
	}
	o, ours := raw.Op().(*op)
	switch {
	case !ours:
		return l.lowerBuiltin(raw, children, in)
	case !o.computes() && o.part == noPart:
		l.storages[raw] = in[:1]
		return nil
	case !o.computes():
		l.storages[raw] = l.storages[children[0]][o.part : o.part+1]
		return nil
	}
	kernel, args := o.kernel, o.args
	if m, ok := kernel.(device.MatMul); ok && m.Slope && !l.used[raw] {
		m.Slope = false
		kernel, args = m, args[:len(args)-1]
	}
	l.addKernel(raw, o, kernel, args, in)
	return nil
}

func leafStorage(n *Node, f *leaf) *storage {
	s := &storage{size: n.Elements(), dtype: n.dtype, leaf: f, value: f.value}
	switch f.kind {
	case leafParam:
		s.place = inParams
	case leafState:
		s.place = inStates
	case leafConst:
		s.place = inConstants
	case leafInput:
		s.place = inInstance
		if n.dtype != device.Real {
			s.place = inOwn
		}
	}
	return s
}

func (l *lowering) addKernel(raw *G.Node, o *op, kernel device.Kernel, args []device.Arg, in []*storage) {
	st := &step{name: o.name, scope: o.scope, segment: o.segment, kernel: kernel, host: o.host, scalars: o.scalars, outs: len(args)}
	var outs []*storage
	next := 0
	for i, a := range args {
		var s *storage
		switch {
		case a.Absent:
		case a.Out:
			st.outs = min(st.outs, i)
			s = l.addStorage(&storage{size: a.Len, place: inForward})
			outs = append(outs, s)
		default:
			s = in[next]
			s.uses++
			next++
		}
		st.args = append(st.args, s)
	}
	l.storages[raw] = outs
	l.steps = append(l.steps, st)
}

// lowerBuiltin lowers gorgonia's own operations. The sum of two equal shapes, which differentiation
// inserts where a value is used twice, is a kernel; all else runs on the host.
func (l *lowering) lowerBuiltin(raw *G.Node, children []*G.Node, in []*storage) error {
	size := max(raw.Shape().TotalSize(), 1)
	if raw.Dtype() != tensor.Float32 {
		return fault.New(fault.Unavailable, "%s gives %v, want float32", raw.Op(), raw.Dtype()).WithOp("graph")
	}
	out := l.addStorage(&storage{size: size, place: inForward})
	l.storages[raw] = []*storage{out}
	st := &step{name: raw.Op().String(), args: append(slices.Clone(in), out), outs: len(in)}
	l.steps = append(l.steps, st)
	for _, s := range in {
		s.uses++
	}
	if isSum(raw) && len(in) == 2 && in[0].size == size && in[1].size == size {
		st.name, st.kernel = "add", device.Binary{N: size, Period: size, Op: device.OpAdd}
		st.scope = l.scope(children)
		return nil
	}
	host, err := newHostOp(raw, children)
	if err != nil {
		return err
	}
	st.host = host
	return nil
}

// scope returns the scope of the first node that has one.
func (l *lowering) scope(nodes []*G.Node) string {
	for _, n := range nodes {
		if o, ok := n.Op().(*op); ok && o.scope != "" {
			return o.scope
		}
	}
	return ""
}

// isSum recognises gorgonia's elementwise addition, whose type is not exported.
func isSum(raw *G.Node) bool {
	b, ok := raw.Op().(G.BinaryOp)
	return ok && len(b.String()) > 0 && b.String()[0] == '+'
}
