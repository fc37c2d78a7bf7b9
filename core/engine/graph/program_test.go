package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
	"tandem/core/fault"
)

func TestBackwardAddsOrReplaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, out := textTower(true, 2, 4, 7, 8, 1, 2)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	tokenInputs(r, rng, 2, 4, 7)
	r.forward()
	r.run.SetGrad(0, fill(rng, 16, 1))
	r.backward(Overwrite)
	once := r.read(r.store.Grads)
	r.backward(Overwrite)
	equalBits(t, once, r.read(r.store.Grads))
	r.backward(Accumulate)
	twice := r.read(r.store.Grads)
	for i := range once {
		if twice[i] != 2*once[i] {
			t.Fatalf("gradient %d is %v after two passes, %v after one", i, twice[i], once[i])
		}
	}
}

// Gradients that are written in place need no workspace: that of a vocabulary's embedding would be most
// of it.
func TestWorkspaceForSumsOfGradientsComesWithTheFirstSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const vocab, width = 999, 8
	g, out := textTower(true, 2, 4, vocab, width, 1, 2)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	tokenInputs(r, rng, 2, 4, vocab)
	r.forward()
	r.backward(Overwrite)
	plan := r.prog.Memory()
	if got := r.prog.workspace.Bytes(); got != plan.Workspace || got >= vocab*width*4 {
		t.Errorf("the workspace is %d bytes, planned are %d", got, plan.Workspace)
	}
	r.backward(Accumulate)
	if got := r.prog.workspace.Bytes(); got != plan.Accumulating || got < vocab*width*4 {
		t.Errorf("with sums the workspace is %d bytes, planned are %d", got, plan.Accumulating)
	}
}

// TestInstancesAreIndependent runs two forwards before either backward, as gradient accumulation does.
func TestInstancesAreIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, out := bottleneck(true, 2)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	images := [][]uint8{pictures(rng, 2*8*8*3), pictures(rng, 2*8*8*3)}
	dy := fill(rng, 16, 1)
	var alone [2][]float64
	for i := range images {
		r.run.SetInput("images", images[i])
		r.forward()
		r.run.SetGrad(0, dy)
		r.backward(Overwrite)
		alone[i] = r.read(r.store.Grads)
	}
	runs := [2]*Instance{r.run}
	var err error
	if runs[1], err = r.prog.NewInstance(); err != nil {
		t.Fatal(err)
	}
	for i, run := range runs {
		run.SetInput("images", images[i])
		if err := run.Forward(); err != nil {
			t.Fatal(err)
		}
	}
	for i, run := range runs {
		run.SetGrad(0, dy)
		if err := run.Backward(Overwrite); err != nil {
			t.Fatal(err)
		}
		equalBits(t, alone[i], r.read(r.store.Grads))
	}
}

// TestUpdateMovesRunningStatisticsOnce also shows that Forward alone leaves them.
func TestUpdateMovesRunningStatisticsOnce(t *testing.T) {
	g := New(Options{Training: true})
	x := g.Input("x", device.Real, 4, 1)
	y := BatchNorm(x, g.Param("w", 1), g.Param("b", 1), g.State("mean", 1), g.State("var", 1), .25, 1e-5, device.Identity, true)
	r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{y}})
	r.run.SetInput("x", []float64{1, 2, 3, 6})
	for range 3 {
		r.forward()
	}
	mean, variance := g.States().Entries[0].Off, g.States().Entries[1].Off
	if s := r.read(r.states.Values); s[mean] != 0 || s[variance] != 0 {
		t.Fatalf("Forward changed the statistics to %v", s)
	}
	if err := r.run.Update(); err != nil {
		t.Fatal(err)
	}
	// Mean 3, biased variance 3.5, unbiased 14/3.
	if s := r.read(r.states.Values); math.Abs(s[mean]-.75) > 1e-12 || math.Abs(s[variance]-.25*14/3) > 1e-12 {
		t.Errorf("statistics are %v, %v, want %v, %v", s[mean], s[variance], .75, .25*14/3)
	}
}

func TestAssignCopiesAValueIntoAState(t *testing.T) {
	g := New(Options{})
	x := g.Input("x", device.Real, 2)
	s := g.State("seen", 2)
	y := Add(x, s)
	g.Assign(s, y)
	r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), false, CompileOptions{Outputs: []*Node{y}})
	r.run.SetInput("x", []float64{1, 2})
	for range 3 {
		r.forward()
		if err := r.run.Update(); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.read(r.run.Output(0)); got[0] != 3 || got[1] != 6 {
		t.Errorf("after three sums the state gives %v", got)
	}
}

// TestInputGradients asks for what a loss needs: the gradient of both embeddings, and of a learned scale.
func TestInputGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := New(Options{Training: true})
	img, txt := g.Input("img", device.Real, 3, 4), g.Input("txt", device.Real, 3, 4)
	targets := g.Input("targets", device.I32, 3)
	logits := ScaleByExp(MatMul(img, txt, false, true), g.Param("logit_scale", 1))
	rows, cols := CrossEntropy(logits, targets, 0), CrossEntropy(Transpose(logits), targets, 0)
	loss := Scale(Add(MeanAll(rows), MeanAll(cols)), 0.5, 0)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{loss, MeanAll(rows)}, Backward: []*Node{loss}, WRT: []*Node{img, txt}})
	values := map[string][]float64{"img": fill(rng, 12, 1), "txt": fill(rng, 12, 1)}
	r.run.SetInput("targets", []int32{0, 1, 2})
	value := func() float64 {
		for name, v := range values {
			r.run.SetInput(name, v)
		}
		r.forward()
		return r.read(r.run.Output(0))[0]
	}
	value()
	r.run.SetGrad(0, []float64{1})
	r.backward(Overwrite)
	for k, name := range []string{"img", "txt"} {
		grad, v := r.read(r.run.InputGrad(k)), values[name]
		for i := range v {
			const h = 1e-6
			old := v[i]
			v[i] = old + h
			up := value()
			v[i] = old - h
			down := value()
			v[i] = old
			if want := (up - down) / (2 * h); math.Abs(grad[i]-want) > 1e-7 {
				t.Errorf("%s[%d]: gradient %v, finite difference %v", name, i, grad[i], want)
			}
		}
	}
	r.checkGradients(rng, 1)
}

func TestFrozenParametersGetNoGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, out := textTower(true, 2, 4, 7, 8, 1, 2)
	frozen := func(name string) bool { return strings.HasPrefix(name, "transformer") }
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}, Frozen: frozen})
	tokenInputs(r, rng, 2, 4, 7)
	r.forward()
	r.run.SetGrad(0, fill(rng, 16, 1))
	r.backward(Accumulate)
	grads := r.read(r.store.Grads)
	for _, e := range r.layout.Entries {
		moved := slices.ContainsFunc(grads[e.Off:e.Off+e.N], func(v float64) bool { return v != 0 })
		if moved == frozen(e.Name) {
			t.Errorf("%s: frozen %v, has a gradient %v", e.Name, frozen(e.Name), moved)
		}
	}
}

// TestForwardOnlyProgramsAreLean sees no memory kept for a backward pass, and no values computed for it.
func TestForwardOnlyProgramsAreLean(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, out := textTower(true, 2, 4, 7, 8, 4, 2)
	r := newRig(t, g, rng, false, CompileOptions{Outputs: []*Node{out}})
	for _, st := range r.prog.forward {
		if m, ok := st.kernel.(device.MatMul); ok && m.Slope {
			t.Errorf("%s computes a slope that nothing reads", st.scope)
		}
	}
	if m := r.prog.Memory(); m.Activations > 4*(16+16*4+8) {
		t.Errorf("an instance keeps %d bytes for inputs of 10 and an output of 16 elements", m.Activations)
	}
	if _, back := r.prog.FLOPs(); back != 0 {
		t.Errorf("%v backward FLOPs in a forward-only program", back)
	}
}

// TestResidualsAreFused sees no separate sum for the blocks' residual connections.
func TestResidualsAreFused(t *testing.T) {
	g, out := textTower(true, 2, 4, 7, 8, 2, 2)
	r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{out}})
	fused := 0
	for _, st := range r.prog.forward {
		if m, ok := st.kernel.(device.MatMul); ok && m.Residual {
			fused++
		}
		if b, ok := st.kernel.(device.Binary); ok && b.Period == b.N {
			t.Errorf("a sum of its own in %q", st.scope)
		}
	}
	if fused != 4 {
		t.Errorf("%d products with a residual, want two for each block", fused)
	}
}

func TestProfileNamesLayersAndChangesNoBit(t *testing.T) {
	var results [2][]float64
	var events []Event
	for i, profile := range []func(Event){nil, func(e Event) { events = append(events, e) }} {
		rng := rand.New(rand.NewPCG(1, 2))
		g, out := textTower(true, 2, 4, 7, 8, 1, 2)
		r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}, Profile: profile})
		tokenInputs(r, rng, 2, 4, 7)
		r.forward()
		r.run.SetGrad(0, fill(rng, 16, 1))
		r.backward(Overwrite)
		results[i] = append(r.read(r.run.Output(0)), r.read(r.store.Grads)...)
	}
	equalBits(t, results[0], results[1])
	found := map[bool]bool{}
	for _, e := range events {
		if e.Scope == "transformer.resblocks.0.mlp.c_fc" && e.FLOPs == 2*8*32*8 {
			found[e.Backward] = true
		}
	}
	if !found[false] || !found[true] {
		t.Errorf("no forward and backward product of c_fc among %v", events)
	}
}

// TestProgramsShareAWorkspace lets a larger program move the memory of a smaller one.
func TestProgramsShareAWorkspace(t *testing.T) {
	b := reference.New[float64](1)
	ws := NewWorkspace(b)
	var runs []*Instance
	var want [][]float64
	for _, batch := range []int{1, 8} {
		g := New(Options{})
		x := g.Input("x", device.Real, batch, 4)
		y := Mul(Act(Mul(x, x), device.GELU), x)
		p, err := Compile(g, b, CompileOptions{Outputs: []*Node{y}, Workspace: ws})
		if err != nil {
			t.Fatal(err)
		}
		run, err := p.NewInstance()
		if err != nil {
			t.Fatal(err)
		}
		run.SetInput("x", fill(rand.New(rand.NewPCG(1, uint64(batch))), 4*batch, 1))
		if err := run.Forward(); err != nil {
			t.Fatal(err)
		}
		out := make([]float64, 4*batch)
		run.Read(0, out)
		runs, want = append(runs, run), append(want, out)
	}
	ws.Close()
	for i, run := range runs {
		if err := run.Forward(); err != nil {
			t.Fatal(err)
		}
		got := make([]float64, len(want[i]))
		run.Read(0, got)
		equalBits(t, want[i], got)
	}
}

// TestBuiltinsRunOnTheHost covers gorgonia's own operations, forward and backward, in float32.
func TestBuiltinsRunOnTheHost(t *testing.T) {
	scalar := map[string]struct{ f, df func(float64) float64 }{
		"tanh":    {math.Tanh, func(x float64) float64 { return 1 - math.Tanh(x)*math.Tanh(x) }},
		"exp":     {math.Exp, math.Exp},
		"log":     {math.Log, func(x float64) float64 { return 1 / x }},
		"square":  {func(x float64) float64 { return x * x }, func(x float64) float64 { return 2 * x }},
		"sqrt":    {math.Sqrt, func(x float64) float64 { return .5 / math.Sqrt(x) }},
		"sigmoid": {func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, func(x float64) float64 { s := 1 / (1 + math.Exp(-x)); return s * (1 - s) }},
		"neg":     {func(x float64) float64 { return -x }, func(x float64) float64 { return -1 }},
		"cube":    {func(x float64) float64 { return x * x * x }, func(x float64) float64 { return 3 * x * x }},
		"inverse": {func(x float64) float64 { return 1 / x }, func(x float64) float64 { return -1 / (x * x) }},
	}
	for name, want := range scalar {
		t.Run(name, func(t *testing.T) {
			g := New(Options{})
			y := Builtin(name, Scale(g.Param("x", 2, 2), 2, 0))
			r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{y}})
			x := []float64{.25, .5, 1, 2}
			r.backend.Write(r.backend.View(r.store.Values, 0, 4), x)
			r.forward()
			r.run.SetGrad(0, []float64{1, 2, 3, 4})
			r.backward(Overwrite)
			out, grads := r.read(r.run.Output(0)), r.read(r.store.Grads)
			for i, v := range x {
				if math.Abs(out[i]-want.f(2*v)) > 1e-5*math.Max(1, math.Abs(out[i])) {
					t.Errorf("%s(%v) = %v, want %v", name, 2*v, out[i], want.f(2*v))
				}
				if d := float64(i+1) * 2 * want.df(2*v); math.Abs(grads[i]-d) > 1e-5*math.Max(1, math.Abs(d)) {
					t.Errorf("%s'(%v): gradient %v, want %v", name, 2*v, grads[i], d)
				}
			}
		})
	}
	t.Run("div", func(t *testing.T) {
		g := New(Options{})
		y := Builtin("div", g.Param("a", 2), g.Param("b", 2))
		r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), true, CompileOptions{Outputs: []*Node{y}})
		r.forward()
		r.run.SetGrad(0, []float64{1, 1})
		r.backward(Overwrite)
		out, grads := r.read(r.run.Output(0)), r.read(r.store.Grads)
		for i := range 2 {
			a, b := r.params[i], r.params[16+i]
			for what, pair := range map[string][2]float64{"a/b": {out[i], a / b}, "da": {grads[i], 1 / b}, "db": {grads[16+i], -a / (b * b)}} {
				if math.Abs(pair[0]-pair[1]) > 1e-5*math.Max(1, math.Abs(pair[1])) {
					t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
				}
			}
		}
	})
}

func TestUnfitShapesNameTheOperation(t *testing.T) {
	for want, build := range map[string]func(g *Graph, x *Node) *Node{
		"mlp.linear: x is x [2 3 8], which does not fit w mlp.w [4 7]; want x [..., K] and w [N, K]": func(g *Graph, x *Node) *Node {
			return Linear(x, g.Param("w", 4, 7), nil, device.Identity)
		},
		"mlp.attention: qkv is x [2 3 8], want [B, T, 3·W] with W a multiple of 2 heads": func(_ *Graph, x *Node) *Node {
			return Attention(x, 2, false)
		},
		"mlp.p: the name is taken already": func(g *Graph, _ *Node) *Node {
			g.Param("p", 1)
			return g.Param("p", 2)
		},
		"mlp.gather: table is x [2 3 8], ids real x [2 3 8]; want table [V, W] and ids i32": func(_ *Graph, x *Node) *Node {
			return Gather(x, x)
		},
	} {
		g := New(Options{})
		x := g.Input("x", device.Real, 2, 3, 8)
		end := g.Scope("mlp")
		// What stands on the bad node must not panic and must not hide the error.
		y := L2Norm(Add(Reshape(build(g, x), -1), x), 1e-6)
		end()
		_, err := Compile(g, reference.New[float64](1), CompileOptions{Outputs: []*Node{y}})
		if err == nil || err.Error() != "graph: "+want || fault.KindOf(err) != fault.Invalid {
			t.Errorf("the error is %q, want %q", err, "graph: "+want)
		}
	}
}

func TestCompileRefusesWhatItCannotBind(t *testing.T) {
	b := reference.New[float64](1)
	build := func() (*Graph, *Node) {
		g := New(Options{})
		return g, Mul(g.Input("x", device.Real, 3), g.Param("w", 3))
	}
	g, y := build()
	values := alloc(t, b, 16)
	store := Store{Layout: g.Params(), Values: values, Grads: values}
	for name, options := range map[string]CompileOptions{
		"no outputs":    {Params: store},
		"no parameters": {Outputs: []*Node{y}},
		"no gradients":  {Outputs: []*Node{y}, Backward: []*Node{y}, Params: Store{Layout: g.Params(), Values: values}},
	} {
		g2, y2 := build()
		if options.Outputs != nil {
			options.Outputs = []*Node{y2}
		}
		if options.Backward != nil {
			options.Backward = []*Node{y2}
		}
		if _, err := Compile(g2, b, options); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want an invalid fault", name, err)
		}
	}
	for i, want := range []fault.Kind{"", fault.Conflict} {
		_, err := Compile(g, b, CompileOptions{Outputs: []*Node{y}, Backward: []*Node{y}, Params: store})
		if fault.KindOf(err) != want {
			t.Errorf("compilation %d for training: %v, want kind %q", i, err, want)
		}
	}
}

func TestOutputsMayBeInputsAndParameters(t *testing.T) {
	g := New(Options{})
	x, w := g.Input("x", device.Real, 2), g.Param("w", 2)
	r := newRig(t, g, rand.New(rand.NewPCG(1, 2)), false, CompileOptions{Outputs: []*Node{x, w, Reshape(x, 2, 1)}})
	r.run.SetInput("x", []float64{7, 8})
	r.forward()
	got := fmt.Sprint(r.read(r.run.Output(0)), r.read(r.run.Output(1)), r.read(r.run.Output(2)))
	if want := fmt.Sprint([]float64{7, 8}, r.params[:2], []float64{7, 8}); got != want {
		t.Errorf("outputs are %s, want %s", got, want)
	}
}
