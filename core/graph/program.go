package graph

import (
	"tandem/core/device"
)

// Program is a compiled graph, bound to parameters. It and its instances are for one goroutine.
type Program struct {
	backend device.Backend
}

// Instance is one set of activations of a program. From its Forward until its Backward, or until its
// outputs were read, it must not be used for another Forward; other instances may run meanwhile.
type Instance struct {
	prog *Program
}

// Compile turns a graph into a program. It returns the graph's first building error, fault.Invalid
// when options and graph disagree, and what Backend.Prepare and Backend.Alloc return.
func Compile(g *Graph, backend device.Backend, options CompileOptions) (*Program, error) {
	panic("todo")
}

// Memory is the program's plan.
func (p *Program) Memory() MemoryPlan { panic("todo") }

// FLOPs are the floating-point operations of one Forward and one Backward; a multiply-add counts two.
func (p *Program) FLOPs() (forward, backward float64) { panic("todo") }

// Close frees what the program owns: kernels, constants and a workspace of its own. Instances are to
// be closed before.
func (p *Program) Close() { panic("todo") }

// NewInstance allocates a set of activations.
func (p *Program) NewInstance() (*Instance, error) { panic("todo") }

// Close frees the activations.
func (i *Instance) Close() { panic("todo") }

// SetInput copies host values into an input: []float32, []uint8 or []int32 of its size. It panics
// when there is no such input or the size differs. Inputs that the outputs do not depend on are
// accepted and ignored.
func (i *Instance) SetInput(name string, values any) { panic("todo") }

// Input is the device memory of an input, to be written in place.
func (i *Instance) Input(name string) device.Buffer { panic("todo") }

// Forward computes the outputs.
func (i *Instance) Forward() error { panic("todo") }

// Update applies the graph's assignments (running statistics) with values of the last Forward. Call
// it once per training step and sample, before the instance's next Forward.
func (i *Instance) Update() { panic("todo") }

// Output is output k of the last Forward, valid until the instance's next Forward.
func (i *Instance) Output(k int) device.Buffer { panic("todo") }

// Read copies output k into values ([]float32 of its size).
func (i *Instance) Read(k int, values any) { panic("todo") }

// Grad is the memory for the gradient of CompileOptions.Backward[k], to be written before Backward.
func (i *Instance) Grad(k int) device.Buffer { panic("todo") }

// SetGrad copies host values into Grad(k).
func (i *Instance) SetGrad(k int, values any) { panic("todo") }

// Backward computes parameter gradients into Params.Grads, and the gradients of
// CompileOptions.WRT. It may be called once or more after Forward.
func (i *Instance) Backward(mode Mode) error { panic("todo") }

// InputGrad is the gradient of CompileOptions.WRT[k], valid until the instance's next Forward.
func (i *Instance) InputGrad(k int) device.Buffer { panic("todo") }
