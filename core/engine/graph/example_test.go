package graph_test

import (
	"fmt"
	"log"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/engine/graph"
)

// A linear layer y = x·wᵀ, its value and its gradients for dy = (1, 0).
func Example() {
	backend := reference.New[float32](1)
	g := graph.New(graph.Options{Training: true})
	x := g.Input("x", device.Real, 1, 2)
	y := graph.Linear(x, g.Param("weight", 2, 2), nil, device.Identity)

	layout := g.Params()
	values, err := backend.Alloc(device.Real, layout.Total)
	if err != nil {
		log.Fatal(err)
	}
	grads, err := backend.Alloc(device.Real, layout.Total)
	if err != nil {
		log.Fatal(err)
	}
	weight, _ := layout.Find("weight")
	backend.Write(backend.View(values, weight.Off, weight.N), []float32{1, 2, 3, 4})

	prog, err := graph.Compile(g, backend, graph.CompileOptions{
		Outputs: []*graph.Node{y}, Backward: []*graph.Node{y}, WRT: []*graph.Node{x},
		Params: graph.Store{Layout: layout, Values: values, Grads: grads},
	})
	if err != nil {
		log.Fatal(err)
	}
	run, err := prog.NewInstance()
	if err != nil {
		log.Fatal(err)
	}
	run.SetInput("x", []float32{10, 100})
	if err := run.Forward(); err != nil {
		log.Fatal(err)
	}
	out := make([]float32, 2)
	run.Read(0, out)
	fmt.Println("y ", out)

	run.SetGrad(0, []float32{1, 0})
	if err := run.Backward(graph.Overwrite); err != nil {
		log.Fatal(err)
	}
	dw, dx := make([]float32, 4), make([]float32, 2)
	backend.Read(dw, backend.View(grads, weight.Off, weight.N))
	backend.Read(dx, run.InputGrad(0))
	fmt.Println("dw", dw)
	fmt.Println("dx", dx)
	// Output:
	// y  [210 430]
	// dw [10 100 0 0]
	// dx [1 2]
}
