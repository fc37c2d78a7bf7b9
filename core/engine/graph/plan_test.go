package graph

import (
	"math/rand/v2"
	"testing"
)

func TestPlanIsTheProgramsMemory(t *testing.T) {
	for name, build := range map[string]func(training bool) (*Graph, *Node){
		"transformer":      func(training bool) (*Graph, *Node) { return textTower(training, 2, 5, 11, 8, 2, 2) },
		"residual network": func(training bool) (*Graph, *Node) { return bottleneck(training, 3) },
	} {
		for _, train := range []bool{true, false} {
			g, out := build(train)
			rig := newRig(t, g, rand.New(rand.NewPCG(1, 1)), train, CompileOptions{Outputs: []*Node{out}})
			g, out = build(train)
			options := CompileOptions{Outputs: []*Node{out}, Params: Store{Layout: g.Params()}, States: Store{Layout: g.States()}}
			if train {
				options.Backward = options.Outputs
			}
			got, err := Plan(g, rig.backend, options)
			if want := rig.prog.Memory(); err != nil || got != want {
				t.Errorf("%s, training %v: %+v (%v), want %+v", name, train, got, err, want)
			}
		}
	}
}
