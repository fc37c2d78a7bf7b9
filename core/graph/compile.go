package graph

import "time"

// CompileOptions say what a program computes and what it is bound to.
type CompileOptions struct {
	// Outputs are read after Forward, by their place in this list.
	Outputs []*Node
	// Backward are those of Outputs whose gradient the caller gives before Instance.Backward, in the
	// order that SetGrad counts. Empty for a forward-only program. A graph is differentiated once.
	Backward []*Node
	// WRT are inputs whose gradient is wanted as well: InputGrad counts them in this order.
	WRT []*Node
	// Frozen names parameters that get no gradient; nil freezes none.
	Frozen func(name string) bool
	// Params and States hold the graph's parameters and states, found by name; a layout may hold more
	// than the graph uses. Params.Grads is needed where a parameter has a gradient.
	Params, States Store
	// Workspace is memory for what lives within one Forward or one Backward, shared by all programs
	// that never run at the same time. Nil makes one for this program alone.
	Workspace *Workspace
	// Profile, when set, is called after each kernel. Results are the same bits with and without.
	Profile func(Event)
	// NoReuse gives every value memory of its own: to check the planner.
	NoReuse bool
}

// Event is one kernel's run, for a profile.
type Event struct {
	Op       string // "linear", "attention.back"
	Scope    string // the part of the model: "transformer.resblocks.3.mlp"
	Backward bool
	FLOPs    float64
	Bytes    float64 // read and written, when Real is float32
	Duration time.Duration
}

// MemoryPlan is the memory a program needs, in bytes when Real is float32.
type MemoryPlan struct {
	Params, Grads, States int64 // of the program's stores, shared with other programs
	Constants             int64
	Activations           int64 // each instance: inputs, outputs and what the backward pass needs
	Workspace             int64 // shared by instances: what lives within one pass
	Unshared              int64 // what Workspace would be without reuse
}

// Mode says what Backward does with the gradients that are in Params.Grads already.
type Mode uint8

// The modes. Overwrite saves a pass over memory in the first Backward of a step; gradients of
// parameters that the program does not reach stay as they are in both.
const (
	Accumulate Mode = iota // add to them
	Overwrite              // replace them
)
