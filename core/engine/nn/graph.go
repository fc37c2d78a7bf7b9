package nn

import (
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
)

// A Graph extends an expression graph by the parameters and statistics of a network.
type Graph struct {
	*graph.Graph
	// FLOPs counts the work of the layers applied so far: floating-point operations of matrix products, convolutions
	// and attention, a multiply-add counted as 2.
	FLOPs float64
	// Random says that a layer applied so far draws at random in each pass: patch dropout.
	Random bool
	// Step is the number, from 0, of a step that the graph is for: parameters that start later count as frozen.
	Step int

	set    *Set
	params map[*Param]*graph.Node
	stats  map[*Stat]*graph.Node
	fills  []Indices
	layers []*Param // see Layers
}

// Indices describes an int32 input that the host computes before each forward pass.
type Indices struct {
	Name string // of the graph's input
	N    int
	Fill func(dst []int32, c *Call)
}

// Call says what is known of one forward pass when its Indices are filled.
type Call struct {
	Seed        uint64
	Step, Micro int     // the position of the random streams
	Lengths     []int32 // text: tokens of each caption, start and end included
	Starts      []int32 // text: the first row of each caption, and the row after the last
	Ends        []int32 // text: position of each caption's largest id, the end of text
}

// NewGraph makes a graph that holds every parameter and statistic of a set.
func NewGraph(set *Set, options graph.Options) *Graph {
	g := &Graph{
		Graph: graph.New(options), set: set,
		params: map[*Param]*graph.Node{}, stats: map[*Stat]*graph.Node{},
	}
	for _, p := range set.params {
		g.params[p] = g.Graph.Param(p.Name, p.Shape...)
	}
	for _, s := range set.stats {
		g.stats[s] = g.State(s.Name, s.Shape...)
	}
	return g
}

// P returns the node of a parameter.
func (g *Graph) P(p *Param) *graph.Node { return g.params[p] }

// S returns the node of a statistic.
func (g *Graph) S(s *Stat) *graph.Node { return g.stats[s] }

// Indices adds an int32 input that fill computes before each forward pass: rows to pick, lengths.
func (g *Graph) Indices(name string, fill func(dst []int32, c *Call), shape ...int) *graph.Node {
	g.fills = append(g.fills, Indices{name, elements(shape), fill})
	return g.Input(name, device.I32, shape...)
}

// Filled lists the inputs made by Indices.
func (g *Graph) Filled() []Indices { return g.fills }
