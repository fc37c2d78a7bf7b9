package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"tandem/core/fault"

	// gorgonia's memory tricks refuse to start on a Go version that this package does not vouch for.
	_ "go4.org/unsafe/assume-no-moving-gc"
)

// gradients holds the nodes that differentiation added to the graph.
type gradients struct {
	given  []*Node          // the gradients of the outputs, leaves that the caller writes
	params map[string]*Node // the gradient of each parameter, by name
	inputs []*Node          // the gradient of each of CompileOptions.WRT
}

// differentiate builds the backward graph of outputs.
func (g *Graph) differentiate(outputs, wrt []*Node, frozen func(string) bool) (*gradients, error) {
	if g.differentiated {
		return nil, fault.New(fault.Conflict, "the graph was compiled with Backward before").WithOp("graph").
			WithHint("build the graph once more for a second training program")
	}
	g.differentiated = true
	reached := g.findDifferentiable(outputs)
	var raws G.Nodes
	var names []string
	for _, p := range g.params {
		if reached[p.raw] && (frozen == nil || !frozen(p.Name())) {
			raws, names = append(raws, p.raw), append(names, p.Name())
		}
	}
	for _, n := range wrt {
		if !reached[n.raw] {
			return nil, fault.New(fault.Invalid, "the outputs do not depend on %s in a differentiable way", n).WithOp("graph")
		}
		raws = append(raws, n.raw)
	}
	if len(raws) == 0 {
		return nil, fault.New(fault.Invalid, "nothing to differentiate: no parameter reaches the outputs").WithOp("graph")
	}
	d := &gradients{params: map[string]*Node{}}
	var outs, given G.Nodes
	for k, n := range outputs {
		dy := g.newLeaf(leafInput, fmt.Sprintf("grad.%d", k), n.dtype, n.shape, nil)
		d.given = append(d.given, dy)
		outs, given = append(outs, n.raw), append(given, dy.raw)
	}
	if g.err != nil {
		return nil, g.err
	}
	grads, err := G.Backpropagate(outs, given, raws)
	if g.err != nil {
		return nil, g.err
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "differentiate: %v", err).WithOp("graph")
	}
	for i, raw := range grads {
		n := g.wrap(raw)
		if i < len(names) {
			d.params[names[i]] = n
		} else {
			d.inputs = append(d.inputs, n)
		}
	}
	return d, nil
}

// Depends reports whether outputs depend on a node through operations that have a gradient.
func Depends(outputs []*Node, n *Node) bool {
	if n.g.unusable(append(outputs[:len(outputs):len(outputs)], n)...) {
		return false
	}
	return n.g.findDifferentiable(outputs)[n.raw]
}

// findDifferentiable collects the nodes that outputs depend on through inputs that have gradients.
func (g *Graph) findDifferentiable(outputs []*Node) map[*G.Node]bool {
	seen := map[*G.Node]bool{}
	var visit func(*G.Node)
	visit = func(raw *G.Node) {
		if seen[raw] {
			return
		}
		seen[raw] = true
		d, ok := raw.Op().(G.SDOp)
		if !ok {
			return
		}
		children := g.children(raw)
		for i, yes := range d.DiffWRT(len(children)) {
			if yes {
				visit(children[i])
			}
		}
	}
	for _, n := range outputs {
		visit(n.raw)
	}
	return seen
}

// children returns the inputs of a node, in the order of its operation.
func (g *Graph) children(raw *G.Node) []*G.Node {
	if o, ok := raw.Op().(*op); ok {
		raws := make([]*G.Node, len(o.in))
		for i, n := range o.in {
			raws[i] = n.raw
		}
		return raws
	}
	var raws []*G.Node
	if raw.Op() != nil {
		for it := g.expr.From(raw.ID()); it.Next(); {
			raws = append(raws, it.Node().(*G.Node))
		}
	}
	return raws
}
