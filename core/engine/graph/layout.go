package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// Align divides every offset in a flat buffer: 16 elements, 64 bytes of float32.
const Align = 16

// An Entry places one named array in a flat buffer: elements [Off, Off+N).
type Entry struct {
	Name  string
	Shape []int
	Off   int
	N     int
}

// Layout places named arrays one after another in a flat buffer of Real elements, each aligned to
// Align. Graphs that make the same arrays in the same order have equal layouts.
type Layout struct {
	Entries []Entry
	Total   int // elements of the buffer; 0 when there are no entries
}

// Find returns the entry of a name.
func (l Layout) Find(name string) (Entry, bool) {
	i := slices.IndexFunc(l.Entries, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return l.Entries[i], true
}

// Count returns the number of elements without padding: the parameter count of a model.
func (l Layout) Count() int {
	n := 0
	for _, e := range l.Entries {
		n += e.N
	}
	return n
}

// Add appends an array and returns its entry.
func (l *Layout) Add(name string, shape ...int) Entry {
	e := Entry{Name: name, Shape: slices.Clone(shape), Off: l.Total, N: elements(shape)}
	l.Entries = append(l.Entries, e)
	l.Total += alignUp(e.N)
	return e
}

func layoutOf(g *Graph, nodes []*Node) Layout {
	var l Layout
	for _, n := range nodes {
		if n.raw != nil {
			l.Add(n.Name(), n.shape...)
		}
	}
	return l
}

// A Store holds a flat buffer with its layout: a model's parameters or states. The zero Store holds nothing.
type Store struct {
	Layout Layout
	Values device.Buffer // Real [Layout.Total]
	// Grads are Real, for parameters of programs with Backward; they may end before Layout.Total where
	// all that follows is frozen.
	Grads device.Buffer
}

func alignUp(n int) int { return (n + Align - 1) / Align * Align }
