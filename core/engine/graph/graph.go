package graph

import (
	"fmt"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Options configures a whole graph.
type Options struct {
	// Training says that layers which behave differently in training (BatchNorm) do so.
	Training bool
	// BF16 rounds the inputs of every matrix product and convolution, gradients included, to bfloat16, and those of
	// attention's products on a backend with such kernels (device.BF16Attender); sums and all else stay Real.
	BF16 bool
	// Checkpointing computes what lies within a Segment again in the backward pass, instead of keeping it:
	// a third more work at most, for a fraction of the activations. Results are the same bits.
	Checkpointing bool
	// Sum, when not nil, adds values up over the ranks that train together, in place: normalisation over the batch then
	// takes that of all ranks (BatchNorm).
	Sum func(values []float64) error
}

// A Graph holds an expression graph under construction. It is not safe for concurrent use.
type Graph struct {
	expr    *G.ExprGraph
	options Options
	err     error
	scope   []string
	names   map[string]bool
	leaves  map[*G.Node]*leaf
	inputs  []*Node
	params  []*Node
	states  []*Node
	effects []effect
	// The first Compile with Backward sets differentiated: gorgonia keeps the derivative of a node on the node, so a
	// graph can be differentiated once.
	differentiated bool
	ops            uint32
	segment        int // that we are in, from 1; 0: none
	segments       int
}

// leafKind says where the value of a node without operation comes from.
type leafKind uint8

const (
	leafInput leafKind = iota
	leafParam
	leafState
	leafConst
)

type leaf struct {
	kind  leafKind
	name  string
	value []float32 // of a constant
}

// New makes an empty graph.
func New(options Options) *Graph {
	return &Graph{expr: G.NewGraph(), options: options, names: map[string]bool{}, leaves: map[*G.Node]*leaf{}}
}

// Training reports whether the graph was made for training.
func (g *Graph) Training() bool { return g.options.Training }

// Err returns the first error met while building, nil when there is none.
func (g *Graph) Err() error { return g.err }

// Scope enters a named part of the model until the function it returns is called. Parameters,
// states and profile entries made inside carry the scopes as a dotted prefix:
//
//	defer g.Scope("resblocks.3")()
func (g *Graph) Scope(name string) (end func()) {
	g.scope = append(g.scope, name)
	depth := len(g.scope)
	return func() { g.scope = g.scope[:depth-1] }
}

func (g *Graph) scopedName(name string) string {
	return strings.Join(append(slices.Clone(g.scope), name), ".")
}

// Input adds a value that is given before each Forward. Its name is not scoped.
func (g *Graph) Input(name string, dtype device.DType, shape ...int) *Node {
	n := g.newLeaf(leafInput, name, dtype, shape, nil)
	g.inputs = append(g.inputs, n)
	return n
}

// Param adds a trainable parameter of Real elements. Its full name, unique in the graph, is the scopes and name joined
// by dots; Params lists parameters in the order they were made.
func (g *Graph) Param(name string, shape ...int) *Node {
	n := g.newLeaf(leafParam, g.scopedName(name), device.Real, shape, nil)
	g.params = append(g.params, n)
	return n
}

// State adds a persistent value that training does not differentiate, such as running statistics. Only Assign changes
// it. Names are as for Param.
func (g *Graph) State(name string, shape ...int) *Node {
	n := g.newLeaf(leafState, g.scopedName(name), device.Real, shape, nil)
	g.states = append(g.states, n)
	return n
}

// Const adds a fixed value of Real elements. It keeps the slice.
func (g *Graph) Const(values []float32, shape ...int) *Node {
	if elements(shape) != len(values) {
		return g.fail("const", "%d values for shape %v", len(values), shape)
	}
	return g.newLeaf(leafConst, fmt.Sprintf("const.%d", len(g.leaves)), device.Real, shape, values)
}

func (g *Graph) newLeaf(kind leafKind, name string, dtype device.DType, shape []int, value []float32) *Node {
	if len(shape) == 0 || elements(shape) < 1 {
		return g.failAt(name, "shape %v needs at least one axis, each of at least 1", shape)
	}
	if g.names[name] {
		return g.failAt(name, "the name is taken already")
	}
	g.names[name] = true
	raw := G.NewTensor(g.expr, tensorType(dtype), len(shape), G.WithShape(shape...), G.WithName(name))
	g.leaves[raw] = &leaf{kind: kind, name: name, value: value}
	return &Node{g: g, raw: raw, shape: slices.Clone(shape), dtype: dtype}
}

// Inputs lists the inputs in the order they were made.
func (g *Graph) Inputs() []*Node { return slices.Clone(g.inputs) }

// Params returns the layout of all parameters.
func (g *Graph) Params() Layout { return layoutOf(g, g.params) }

// States returns the layout of all states.
func (g *Graph) States() Layout { return layoutOf(g, g.states) }

// effect changes a state after a forward pass.
type effect struct {
	kernel  device.Kernel // nil copies value to its one state
	scope   string
	value   *Node
	targets []*Node
}

// source returns the node whose kernel computes the value.
func (e effect) source() *G.Node {
	if o, ok := e.value.raw.Op().(*op); ok && o.part != noPart {
		return o.in[0].raw
	}
	return e.value.raw
}

// Assign sets a state to a value of equal size whenever Instance.Update is called; until then the
// state keeps its value. It is part of the programs whose outputs depend on value.
func (g *Graph) Assign(state, value *Node) {
	if g.unusable(state, value) {
		return
	}
	if l := g.leaves[state.raw]; l == nil || l.kind != leafState {
		g.fail("assign", "%s is not a state", state.Name())
		return
	}
	if state.Elements() != value.Elements() {
		g.fail("assign", "state %s is %v, the value %v", state.Name(), state.shape, value.shape)
		return
	}
	g.effects = append(g.effects, effect{scope: g.scopePath(), value: value, targets: []*Node{state}})
}

// fail records an error unless one is recorded, and gives an inert node.
func (g *Graph) fail(op, format string, args ...any) *Node {
	return g.failAt(g.scopedName(op), format, args...)
}

func (g *Graph) failAt(path, format string, args ...any) *Node {
	if g.err == nil {
		g.err = fault.New(fault.Invalid, format, args...).WithOp("graph").WithPath(path)
	}
	return &Node{g: g}
}

// unusable reports whether a node is inert or foreign; foreign nodes are recorded as an error.
func (g *Graph) unusable(nodes ...*Node) bool {
	for _, n := range nodes {
		if n == nil || n.raw == nil {
			if g.err == nil {
				g.fail("node", "a nil node was used")
			}
			return true
		}
		if n.g != g {
			g.fail(n.Name(), "the node belongs to another graph")
			return true
		}
	}
	return g.err != nil
}

func (g *Graph) scopePath() string { return strings.Join(g.scope, ".") }

// A Node stands for a value in a graph. Its shape is fixed; arrays are dense and row-major.
type Node struct {
	g     *Graph
	raw   *G.Node // nil when inert
	shape []int
	dtype device.DType
}

// Graph returns the graph that the node belongs to.
func (n *Node) Graph() *Graph { return n.g }

// Shape returns the size of each axis; nil after an error.
func (n *Node) Shape() []int { return slices.Clone(n.shape) }

// Dims returns the number of axes.
func (n *Node) Dims() int { return len(n.shape) }

// Dim returns the size of axis i, counted from the end when negative; 1 when the node is inert.
func (n *Node) Dim(i int) int {
	if i < 0 {
		i += len(n.shape)
	}
	if n.raw == nil {
		return 1
	}
	return n.shape[i]
}

// DType returns the element type.
func (n *Node) DType() device.DType { return n.dtype }

// Elements returns the number of elements.
func (n *Node) Elements() int { return elements(n.shape) }

// Name returns the name of an input, parameter or state, and the operation's name otherwise.
func (n *Node) Name() string {
	if n.raw == nil {
		return "<invalid>"
	}
	if l := n.g.leaves[n.raw]; l != nil {
		return l.name
	}
	return n.raw.Op().String()
}

// String formats name and shape, for messages.
func (n *Node) String() string { return fmt.Sprintf("%s %v", n.Name(), n.shape) }

// rows returns the product of all axes but the last.
func (n *Node) rows() int { return n.Elements() / n.Dim(-1) }

// withLast returns the shape with last in place of its last axis.
func (n *Node) withLast(last ...int) []int {
	return append(slices.Clone(n.shape[:len(n.shape)-1]), last...)
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= max(d, 0)
	}
	return n
}

func tensorType(d device.DType) tensor.Dtype {
	switch d {
	case device.U8:
		return tensor.Uint8
	case device.I32:
		return tensor.Int32
	}
	return tensor.Float32
}
