package graph

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Role says where the value of a visited node comes from.
type Role uint8

// The roles.
const (
	Computed Role = iota // by Kernel from In
	Viewed               // the elements of In[0] in another shape
	Given                // an input
	Kept                 // a parameter or a state
	Fixed                // a constant, Value
)

// Visited describes one node for a program that writes the graph in another form.
type Visited struct {
	*Node
	ID      int // of the node, unique in its graph
	In      []int
	Role    Role
	Kernel  device.Kernel
	Scalars []float64 // of the kernel
	Scope   string
	Value   []float32
}

// Walk lists the nodes that outputs depend on, each after those that it is computed from, in an order that is the same
// for graphs that were built by the same calls. A node that no kernel computes by itself (one of gorgonia's operations, a
// further output of a kernel) is fault.Unavailable.
func Walk(outputs ...*Node) ([]Visited, error) {
	g := outputs[0].g
	if err := g.Err(); err != nil {
		return nil, err
	}
	var out []Visited
	for _, raw := range g.reach(outputs, map[*G.Node]bool{}) {
		v := Visited{Node: g.wrap(raw), ID: int(raw.ID())}
		for _, c := range g.children(raw) {
			v.In = append(v.In, int(c.ID()))
		}
		o, ours := raw.Op().(*op)
		switch l := g.leaves[raw]; {
		case l != nil && l.kind == leafInput:
			v.Role = Given
		case l != nil && l.kind == leafConst:
			v.Role, v.Value = Fixed, l.value
		case l != nil:
			v.Role = Kept
		case isConstant(raw):
			values, err := constantValues(raw)
			if err != nil {
				return nil, err
			}
			v.Role, v.Value = Fixed, values
		case ours && o.part != noPart, !ours && !isSum(raw):
			return nil, fault.New(fault.Unavailable, "%s is no kernel of its own", raw.Op()).WithOp("walk")
		case !ours:
			v.Kernel = device.Binary{N: v.Elements(), Period: v.Elements(), Op: device.OpAdd}
		case o.kernel == nil:
			v.Role = Viewed
		default:
			v.Kernel, v.Scalars, v.Scope = o.kernel, slices.Clone(o.scalars), o.scope
		}
		out = append(out, v)
	}
	return out, nil
}

// NodeID returns the ID by which Walk names a node.
func NodeID(n *Node) int { return int(n.raw.ID()) }
