package graph

import (
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// op describes every operation of ours: a kernel, a step on the host, or a view when there is neither. It implements gorgonia's Op and SDOp.
//
// The inputs of the node are the kernel's input arguments in order. The value of the node is the kernel's first
// output; further outputs are nodes of their own made by part, which share the run.
type op struct {
	g       *Graph
	id      uint32
	name    string
	scope   string
	segment int
	in      []*Node
	shape   []int // of the value
	kernel  device.Kernel
	host    hostStep // instead of kernel
	scalars []float64
	args    []device.Arg // of kernel or host
	// part is the output of the input's kernel that a view shows; -1 when it shows the input itself.
	part int
	// before is what a batch norm with nothing after it was made of; nil for all other operations.
	before *normed
	// wrt says which inputs have a gradient; nil for none.
	wrt []bool
	// diff gives the gradients of the inputs (nil where wrt is false).
	diff func(in []*Node, out, dy *Node) []*Node
}

// noPart marks an op that is not a view of a further output.
const noPart = -1

var (
	_ G.Op   = (*op)(nil)
	_ G.SDOp = (*op)(nil)
)

// op returns the operation of ours that made a node, nil for others.
func (n *Node) op() *op {
	if n.raw == nil {
		return nil
	}
	o, _ := n.raw.Op().(*op)
	return o
}

// computes reports whether an op is more than a view.
func (o *op) computes() bool { return o.kernel != nil || o.host != nil }

// apply adds an operation to the graph; o lacks id, scope, in and, but for a step on the host, args.
func (g *Graph) apply(o op, in ...*Node) *Node {
	if g.unusable(in...) {
		return &Node{g: g}
	}
	o.g, o.id, o.scope, o.segment, o.in = g, g.ops, g.scopePath(), g.segment, in
	g.ops++
	if o.kernel != nil {
		if g.options.BF16 {
			o.kernel = device.WithBF16(o.kernel)
		}
		args, err := device.Signature(o.kernel)
		if err != nil {
			return g.fail(o.name, "%v", err)
		}
		o.args = args
	}
	if o.computes() {
		if msg := o.checkArgs(o.args); msg != "" {
			return g.fail(o.name, "%s", msg)
		}
	}
	raws := make([]*G.Node, len(in))
	for i, n := range in {
		raws[i] = n.raw
	}
	raw, err := G.ApplyOp(&o, raws...)
	if err != nil {
		return g.fail(o.name, "%v", err)
	}
	return &Node{g: g, raw: raw, shape: slices.Clone(o.shape), dtype: device.Real}
}

// checkArgs holds inputs and value against the kernel's signature: a last guard behind the checks of
// each operation, whose messages are better.
func (o *op) checkArgs(args []device.Arg) string {
	next, outs := 0, 0
	for _, a := range args {
		switch {
		case a.Absent:
		case a.Out:
			if outs == 0 && a.Len != elements(o.shape) {
				return fmt.Sprintf("the kernel gives %d elements, not shape %v", a.Len, o.shape)
			}
			outs++
		case next >= len(o.in):
			return "the kernel needs the argument " + a.Name
		default:
			if n := o.in[next]; n.Elements() != a.Len || n.dtype != a.DType {
				return a.Name + " is " + n.dtype.String() + " " + n.String() + ", which does not fit"
			}
			next++
		}
	}
	if next != len(o.in) {
		return "the kernel takes fewer inputs"
	}
	return ""
}

// part returns output k ≥ 1 of the kernel that made n.
func part(n *Node, k int, shape ...int) *Node {
	return n.g.apply(op{name: "part", shape: shape, part: k}, n)
}

// view gives n's elements another shape, without a copy.
func view(n *Node, shape []int) *Node {
	return n.g.apply(op{name: "view", shape: shape, part: noPart, wrt: []bool{true},
		diff: func(in []*Node, _, dy *Node) []*Node { return []*Node{view(dy, in[0].shape)} }}, n)
}

func (g *Graph) wrap(raw *G.Node) *Node {
	dtype := device.Real
	switch raw.Dtype() {
	case tensor.Uint8:
		dtype = device.U8
	case tensor.Int32:
		dtype = device.I32
	}
	shape := []int(raw.Shape())
	if len(shape) == 0 {
		shape = []int{1}
	}
	return &Node{g: g, raw: raw, shape: shape, dtype: dtype}
}

// Arity implements gorgonia's Op.
func (o *op) Arity() int { return len(o.in) }

// Type implements gorgonia's Op: the concrete types of this application.
func (o *op) Type() hm.Type {
	types := make([]hm.Type, 0, len(o.in)+1)
	for _, n := range o.in {
		types = append(types, n.raw.Type())
	}
	return hm.NewFnType(append(types, G.TensorType{Dims: len(o.shape), Of: tensor.Float32})...)
}

// InferShape implements gorgonia's Op; shapes were checked when the op was made.
func (o *op) InferShape(...G.DimSizer) (tensor.Shape, error) {
	return tensor.Shape(slices.Clone(o.shape)), nil
}

// Do implements gorgonia's Op for gorgonia's own machines, which cannot run device kernels.
func (o *op) Do(...G.Value) (G.Value, error) {
	return nil, fault.New(fault.Unavailable, "%s runs in a compiled program only", o.name).WithOp("graph")
}

// ReturnsPtr implements gorgonia's Op.
func (o *op) ReturnsPtr() bool { return true }

// CallsExtern implements gorgonia's Op.
func (o *op) CallsExtern() bool { return true }

// OverwritesInput implements gorgonia's Op; the planner decides on reuse, not gorgonia.
func (o *op) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia's Op. gorgonia merges nodes of equal hash without comparing their
// inputs, so the hash is the op's number: no two applications are ever merged.
func (o *op) WriteHash(h hash.Hash) {
	_ = binary.Write(h, binary.LittleEndian, o.id)
}

// Hashcode implements gorgonia's Op.
func (o *op) Hashcode() uint32 { return o.id }

// String implements gorgonia's Op.
func (o *op) String() string { return o.name }

// DiffWRT implements gorgonia's SDOp.
func (o *op) DiffWRT(inputs int) []bool {
	if o.wrt == nil {
		return make([]bool, inputs)
	}
	return o.wrt
}

// SymDiff implements gorgonia's SDOp. What it builds carries the scope and the segment of the forward op.
func (o *op) SymDiff(inputs G.Nodes, output, grad *G.Node) (G.Nodes, error) {
	g := o.g
	outer := g.scope
	defer func() { g.scope, g.segment = outer, 0 }()
	g.scope, g.segment = nil, o.segment
	if o.scope != "" {
		g.scope = strings.Split(o.scope, ".")
	}
	in := make([]*Node, len(inputs))
	for i, raw := range inputs {
		in[i] = g.wrap(raw)
	}
	grads := o.diff(in, g.wrap(output), g.wrap(grad))
	if g.err != nil {
		return nil, g.err
	}
	raws := make(G.Nodes, len(inputs))
	for i, d := range grads {
		if d != nil {
			raws[i] = d.raw
		}
	}
	return raws, nil
}
