// Package graph is the engine's front: a model is written as an expression graph, differentiated
// symbolically and compiled into a program of device kernels. It is the only package that knows
// gorgonia.
//
// # Writing a model
//
//	g := graph.New(graph.Options{Training: true})
//	x := g.Input("x", device.Real, batch, 768)
//	end := g.Scope("mlp")
//	h := graph.Linear(x, g.Param("c_fc.weight", 3072, 768), g.Param("c_fc.bias", 3072), device.QuickGELU)
//	y := graph.Linear(h, g.Param("c_proj.weight", 768, 3072), g.Param("c_proj.bias", 768), device.Identity)
//	end()
//	if err := g.Err(); err != nil { … }
//
// Shapes are fixed when the graph is built, so there is one graph per batch size. An operation on
// unfit shapes records an error that names the operation, the shapes and the scope; everything built
// on top of it is inert, and the first error is what Err and Compile return. So there is one error to
// look at per graph, not one per line.
//
// # Running it
//
//	params := g.Params()                       // layout: name, shape and place of each in one flat buffer
//	prog, err := graph.Compile(g, backend, graph.CompileOptions{
//		Outputs: []*graph.Node{y}, Backward: []*graph.Node{y},
//		Params: graph.Store{Layout: params, Values: p, Grads: dp},
//	})
//	run, err := prog.NewInstance()             // one set of activations; several may be outstanding
//	run.SetInput("x", values)
//	run.Forward()
//	run.Read(0, out)                           // outputs by their place in Outputs
//	run.SetGrad(0, dOut)
//	run.Backward(graph.Accumulate)             // parameter gradients land in dp
//
// A program without Backward is forward-only: everything but inputs and outputs lives in a workspace
// that programs share. The order of kernels is the order of construction, so the same code gives the
// same program, and the same bits, in every process.
package graph
