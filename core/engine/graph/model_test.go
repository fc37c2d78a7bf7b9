package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
)

// block builds a pre-norm transformer block, as CLIP's.
func block(g *Graph, x *Node, width, heads int, causal bool) *Node {
	defer g.Segment()()
	norm := func(name string, x *Node) *Node {
		defer g.Scope(name)()
		return LayerNorm(x, g.Param("weight", width), g.Param("bias", width), 1e-5)
	}
	linear := func(name string, x *Node, out int, act device.Activation) *Node {
		defer g.Scope(name)()
		return Linear(x, g.Param("weight", out, x.Dim(-1)), g.Param("bias", out), act)
	}
	qkv := linear("attn.in_proj", norm("ln_1", x), 3*width, device.Identity)
	x = Add(x, linear("attn.out_proj", Attention(qkv, heads, causal), width, device.Identity))
	hidden := linear("mlp.c_fc", norm("ln_2", x), 4*width, device.QuickGELU)
	return Add(x, linear("mlp.c_proj", hidden, width, device.Identity))
}

// textTower builds a causal transformer on tokens: embedding, positions, blocks, the last token, projection.
func textTower(training bool, batch, tokens, vocab, width, layers, heads int) (g *Graph, out *Node) {
	return textTowerIn(New(Options{Training: training}), batch, tokens, vocab, width, layers, heads)
}

func textTowerIn(g *Graph, batch, tokens, vocab, width, layers, heads int) (*Graph, *Node) {
	x := Gather(g.Param("token_embedding.weight", vocab, width), g.Input("ids", device.I32, batch, tokens))
	x = Add(x, g.Param("positional_embedding", tokens, width))
	for i := range layers {
		end := g.Scope(fmt.Sprintf("transformer.resblocks.%d", i))
		x = block(g, x, width, heads, true)
		end()
	}
	x = SelectRows(x, g.Input("eot", device.I32, batch))
	x = LayerNorm(x, g.Param("ln_final.weight", width), g.Param("ln_final.bias", width), 1e-5)
	x = MatMul(x, g.Param("text_projection", width, width), false, false)
	return g, L2Norm(x, 1e-12)
}

// bottleneck builds a small residual network on pictures: normalise, convolution, one bottleneck with a downsampling
// shortcut, pooling.
func bottleneck(training bool, batch int) (g *Graph, out *Node) {
	return bottleneckIn(New(Options{Training: training}), batch)
}

func bottleneckIn(g *Graph, batch int) (*Graph, *Node) {
	norm := func(name string, x *Node, act device.Activation) *Node {
		defer g.Scope(name)()
		c := x.Dim(-1)
		return BatchNorm(x, g.Param("weight", c), g.Param("bias", c), g.State("running_mean", c), g.State("running_var", c),
			0.1, 1e-5, act, g.Training())
	}
	conv := func(name string, x *Node, out, k, stride int) *Node {
		return Conv2D(x, g.Param(name+".weight", out, x.Dim(3), k, k), stride, k/2)
	}
	end := g.Segment()
	x := Normalize(g.Input("images", device.U8, batch, 8, 8, 3), [3]float64{.5, .5, .5}, [3]float64{.25, .25, .25})
	x = MaxPool(norm("bn1", conv("conv1", x, 4, 3, 1), device.ReLU), 3, 2, 1)
	end()
	defer g.Segment()()
	y := norm("layer1.bn1", conv("layer1.conv1", x, 2, 1, 1), device.ReLU)
	y = AvgPool(norm("layer1.bn2", conv("layer1.conv2", y, 2, 3, 1), device.ReLU), 2, 2)
	y = norm("layer1.bn3", conv("layer1.conv3", y, 8, 1, 1), device.Identity)
	short := norm("layer1.downsample", conv("layer1.downsample.0", AvgPool(x, 2, 2), 8, 1, 1), device.Identity)
	y = Act(Add(y, short), device.ReLU)
	return g, MeanTokens(Reshape(y, batch, -1, 8), nil)
}

func tokenInputs(r *rig, rng *rand.Rand, batch, tokens, vocab int) {
	ids, eot := make([]int32, batch*tokens), make([]int32, batch)
	for i := range ids {
		ids[i] = rng.Int32N(int32(vocab))
	}
	for i := range eot {
		eot[i] = int32(i*tokens) + rng.Int32N(int32(tokens))
	}
	r.run.SetInput("ids", ids)
	r.run.SetInput("eot", eot)
}

func pictures(rng *rand.Rand, n int) []uint8 {
	v := make([]uint8, n)
	for i := range v {
		v[i] = uint8(rng.UintN(256))
	}
	return v
}

func TestTransformerGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	g, out := textTower(true, 2, 5, 11, 8, 2, 2)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	tokenInputs(r, rng, 2, 5, 11)
	r.checkGradients(rng, 12)
}

func TestResidualNetworkGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	g, out := bottleneck(true, 3)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	r.run.SetInput("images", pictures(rng, 3*8*8*3))
	r.checkGradients(rng, 12)
}

// TestReuseOfMemoryChangesNoBit compares planned memory with every value in memory of its own.
func TestReuseOfMemoryChangesNoBit(t *testing.T) {
	for name, train := range map[string]bool{"training": true, "forward only": false} {
		t.Run(name, func(t *testing.T) {
			var results [2][]float64
			var memory [2]MemoryPlan
			for i, noReuse := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(7, 8))
				g, out := textTower(true, 2, 5, 11, 8, 3, 2)
				r := newRig(t, g, rng, train, CompileOptions{Outputs: []*Node{out}, NoReuse: noReuse})
				tokenInputs(r, rng, 2, 5, 11)
				r.forward()
				results[i] = r.read(r.run.Output(0))
				if train {
					r.run.SetGrad(0, fill(rng, 2*8, 1))
					r.backward(Accumulate)
					results[i] = append(results[i], r.read(r.store.Grads)...)
				}
				memory[i] = r.prog.Memory()
			}
			equalBits(t, results[0], results[1])
			if memory[0].Workspace*2 > memory[1].Workspace {
				t.Errorf("the plan needs %d bytes, without reuse %d", memory[0].Workspace, memory[1].Workspace)
			}
		})
	}
}

func equalBits(t *testing.T, a, b []float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d values against %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("value %d: %v against %v", i, a[i], b[i])
		}
	}
}

// TestLiveValuesNeverShareMemory checks the planner's property on a whole training program.
func TestLiveValuesNeverShareMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	g, out := bottleneckIn(New(Options{Training: true, Checkpointing: true}), 3)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	for name, steps := range map[string][]*step{"forward": r.prog.forward, "backward": r.prog.backward} {
		type life struct{ first, last int }
		lives := map[*storage]*life{}
		for i, st := range steps {
			for _, s := range st.args {
				if s == nil || s.root().place != inForward && s.root().place != inBackward {
					continue
				}
				if l := lives[s.root()]; l == nil {
					lives[s.root()] = &life{i, i}
				} else {
					l.last = i
				}
			}
		}
		pairs := 0
		for a, la := range lives {
			for b, lb := range lives {
				if a == b || la.last < lb.first || lb.last < la.first {
					continue
				}
				pairs++
				if a.off < b.off+b.size && b.off < a.off+a.size {
					t.Errorf("%s: values of %d and %d elements live together at steps %v and %v and share memory", name, a.size, b.size, *la, *lb)
				}
			}
		}
		if pairs == 0 {
			t.Errorf("%s: no two values live together, so nothing was checked", name)
		}
	}
}

// TestProgramOrderIsAFunctionOfTheModel builds the same model again and again.
func TestProgramOrderIsAFunctionOfTheModel(t *testing.T) {
	describe := func() string {
		rng := rand.New(rand.NewPCG(9, 10))
		g, out := bottleneck(true, 2)
		p := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}}).prog
		text := ""
		for _, st := range append(p.forward, p.backward...) {
			text += fmt.Sprintf("%s %s %+v", st.scope, st.name, st.kernel)
			for _, s := range st.args {
				if s != nil {
					text += fmt.Sprint(" ", s.place, s.root().off)
				}
			}
			text += "\n"
		}
		return text
	}
	first := describe()
	for range 10 {
		if again := describe(); again != first {
			t.Fatalf("two programs of one model differ:\n%s\n%s", first, again)
		}
	}
}

// TestTheWorkOfBuildingGrowsAsTheModel builds the graph of the published text tower's depth with gradients: twice
// the layers are twice the allocations, where anything quadratic would take four times as many.
func TestTheWorkOfBuildingGrowsAsTheModel(t *testing.T) {
	build := func(layers int) float64 {
		return testing.AllocsPerRun(1, func() {
			g, out := textTower(true, 2, 4, 16, 64, layers, 8)
			newRig(t, g, rand.New(rand.NewPCG(1, 1)), true, CompileOptions{Outputs: []*Node{out}})
		})
	}
	if six, twelve := build(6), build(12); twelve > 2.5*six {
		t.Errorf("6 layers take %g allocations, 12 take %g", six, twelve)
	}
}
