package loss

import (
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
)

// rowNumbers holds what of a program tells rows and columns apart: it never changes.
type rowNumbers struct {
	ids    map[string][]int32          // by input
	from   map[*graph.Node]int         // the first of those that are partners
	own    map[*graph.Node]*graph.Node // Batch.Own of partners
	consts map[[2]int]*graph.Node      // by shape: the identity is square, zeros are not
}

func newRowNumbers() *rowNumbers {
	return &rowNumbers{map[string][]int32{}, map[*graph.Node]int{}, map[*graph.Node]*graph.Node{}, map[[2]int]*graph.Node{}}
}

// identity makes the identity matrix [n, n, 1], and zeros makes [n, size, 1] for n below size; blocks share them.
func (r *rowNumbers) identity(g *graph.Graph, n int) *graph.Node {
	return r.constant(g, n, n, func(values []float32) {
		for i := range n {
			values[i*n+i] = 1
		}
	})
}

func (r *rowNumbers) zeros(g *graph.Graph, n, size int) *graph.Node {
	return r.constant(g, n, size, func([]float32) {})
}

func (r *rowNumbers) constant(g *graph.Graph, rows, columns int, fill func([]float32)) *graph.Node {
	at := [2]int{rows, columns}
	if r.consts[at] == nil {
		values := make([]float32, rows*columns)
		fill(values)
		r.consts[at] = g.Const(values, rows, columns, 1)
	}
	return r.consts[at]
}

// input makes i32 [n].
func (r *rowNumbers) input(g *graph.Graph, ids []int32) *graph.Node {
	name := fmt.Sprintf("partners.%d", len(r.ids))
	r.ids[name] = ids
	return g.Input(name, device.I32, len(ids))
}

// partners makes from, from+1, …, from+n−1.
func (r *rowNumbers) partners(g *graph.Graph, from, n int) *graph.Node {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(from + i)
	}
	node := r.input(g, ids)
	r.from[node] = from
	return node
}
