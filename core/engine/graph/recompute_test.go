package graph

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// models holds a transformer of three blocks and a residual network, with the inputs that they take.
var models = map[string]func(checkpointing bool) (g *Graph, out *Node, feed func(*rig, *rand.Rand)){
	"transformer": func(checkpointing bool) (*Graph, *Node, func(*rig, *rand.Rand)) {
		g, out := textTower(true, 2, 5, 11, 8, 3, 2)
		g.options.Checkpointing = checkpointing
		return g, out, func(r *rig, rng *rand.Rand) { tokenInputs(r, rng, 2, 5, 11) }
	},
	"residual network": func(checkpointing bool) (*Graph, *Node, func(*rig, *rand.Rand)) {
		g, out := bottleneck(true, 3)
		g.options.Checkpointing = checkpointing
		return g, out, func(r *rig, rng *rand.Rand) { r.run.SetInput("images", pictures(rng, 3*8*8*3)) }
	},
}

func TestCheckpointingGivesTheSameBitsInLessMemory(t *testing.T) {
	for name, model := range models {
		t.Run(name, func(t *testing.T) {
			var results [2][]float64
			var memory [2]MemoryPlan
			var work [2]float64
			for i, checkpointing := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(7, 8))
				g, out, feed := model(checkpointing)
				r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
				feed(r, rng)
				for range 2 { // twice, so that something left from the first would be seen
					r.forward()
					r.run.SetGrad(0, fill(rng, out.Elements(), 1))
					r.backward(Overwrite)
					r.backward(Accumulate)
					if err := r.run.Update(); err != nil {
						t.Fatal(err)
					}
					results[i] = slices.Concat(results[i], r.read(r.run.Output(0)), r.read(r.store.Grads), r.read(r.states.Values))
				}
				memory[i] = r.prog.Memory()
				_, work[i] = r.prog.FLOPs()
			}
			equalBits(t, results[0], results[1])
			if memory[1].Activations*2 > memory[0].Activations {
				t.Errorf("%d bytes are kept, %d without checkpointing", memory[1].Activations, memory[0].Activations)
			}
			if work[1] <= work[0] {
				t.Errorf("the backward pass counts %g operations, %g without checkpointing", work[1], work[0])
			}
		})
	}
}

func TestGradientsWithCheckpointing(t *testing.T) {
	for name, model := range models {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			g, out, feed := model(true)
			r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
			feed(r, rng)
			r.checkGradients(rng, 12)
		})
	}
}

// A block's values are made when its own backward pass begins, so that one block's at a time lie in the
// workspace.
func TestSegmentsAreComputedAgainOneAfterTheOther(t *testing.T) {
	g, out, _ := models["transformer"](true)
	r := newRig(t, g, rand.New(rand.NewPCG(5, 6)), true, CompileOptions{Outputs: []*Node{out}})
	var order []string // of blocks, as the backward pass comes to them
	for _, st := range r.prog.backward {
		block, _, in := strings.Cut(strings.TrimPrefix(st.scope, "transformer.resblocks."), ".")
		if !in {
			continue
		}
		what := block
		if strings.HasSuffix(st.name, ".again") {
			what += " again"
		}
		if len(order) == 0 || order[len(order)-1] != what {
			order = append(order, what)
		}
	}
	if want := []string{"2 again", "2", "1 again", "1", "0 again", "0"}; !slices.Equal(order, want) {
		t.Errorf("the backward pass goes through %v, want %v", order, want)
	}
}
