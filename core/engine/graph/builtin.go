package graph

import (
	G "gorgonia.org/gorgonia"
)

// Builtin applies one of gorgonia's own elementwise operations of one or two inputs: "tanh",
// "sigmoid", "exp", "log", "sqrt", "square", "abs", "cube", "inverse", "neg"; "div", "pow". Two inputs
// have equal shapes.
//
// They run on the host, with a copy there and back, so they are for experiments and small arrays.
func Builtin(name string, in ...*Node) *Node {
	g := in[0].g
	if g.unusable(in...) {
		return &Node{g: g}
	}
	var raw *G.Node
	var err error
	unary, binary := unaryBuiltins[name], binaryBuiltins[name]
	switch {
	case unary != nil && len(in) == 1:
		raw, err = unary(in[0].raw)
	case binary != nil && len(in) == 2:
		if in[0].Elements() != in[1].Elements() {
			return g.fail(name, "inputs are %v and %v, want equal shapes", in[0], in[1])
		}
		raw, err = binary(in[0].raw, in[1].raw)
	default:
		return g.fail(name, "there is no such operation of %d inputs", len(in))
	}
	if err != nil {
		return g.fail(name, "%v", err)
	}
	return g.wrap(raw)
}

var unaryBuiltins = map[string]func(*G.Node) (*G.Node, error){
	"tanh": G.Tanh, "sigmoid": G.Sigmoid, "exp": G.Exp, "log": G.Log, "sqrt": G.Sqrt, "square": G.Square,
	"abs": G.Abs, "cube": G.Cube, "inverse": G.Inverse, "neg": G.Neg,
}

var binaryBuiltins = map[string]func(a, b *G.Node) (*G.Node, error){
	"div": G.HadamardDiv, "pow": G.Pow,
}
