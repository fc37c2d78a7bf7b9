package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// rig holds a compiled graph with its stores, on the float64 host backend.
type rig struct {
	t       *testing.T
	backend device.Backend
	prog    *Program
	run     *Instance
	params  []float64
	layout  Layout
	store   Store
	states  Store
}

func fill(rng *rand.Rand, n int, scale float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = rng.NormFloat64() * scale
	}
	return v
}

func alloc(t *testing.T, b device.Backend, n int) device.Buffer {
	t.Helper()
	buf, err := b.Alloc(device.Real, max(n, 1))
	if err != nil {
		t.Fatal(err)
	}
	return buf
}

// newRig compiles g for outputs, all of them differentiated when train is set, with parameters drawn
// from rng.
func newRig(t *testing.T, g *Graph, rng *rand.Rand, train bool, options CompileOptions) *rig {
	t.Helper()
	b := reference.New[float64](1)
	r := &rig{t: t, backend: b, layout: g.Params()}
	r.params = fill(rng, r.layout.Total, 0.5)
	r.store = Store{Layout: r.layout, Values: alloc(t, b, r.layout.Total), Grads: alloc(t, b, r.layout.Total)}
	r.states = Store{Layout: g.States(), Values: alloc(t, b, g.States().Total)}
	if r.layout.Total > 0 {
		b.Write(r.store.Values, r.params)
	}
	options.Params, options.States = r.store, r.states
	if train && options.Backward == nil {
		options.Backward = options.Outputs
	}
	var err error
	if r.prog, err = Compile(g, b, options); err != nil {
		t.Fatal(err)
	}
	if r.run, err = r.prog.NewInstance(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) forward() {
	r.t.Helper()
	if err := r.run.Forward(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) backward(mode Mode) {
	r.t.Helper()
	if err := r.run.Backward(mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read(b device.Buffer) []float64 {
	v := make([]float64, b.Len())
	r.backend.Read(v, b)
	return v
}

// objective computes Σ dy·y over output 0.
func (r *rig) objective(dy []float64) float64 {
	r.forward()
	sum := 0.0
	for i, y := range r.read(r.run.Output(0)) {
		sum += y * dy[i]
	}
	return sum
}

// checkGradients holds the analytic gradient of every parameter element (or every stride-th, for
// large ones) against central differences.
func (r *rig) checkGradients(rng *rand.Rand, most int) {
	r.t.Helper()
	dy := fill(rng, r.run.Output(0).Len(), 1)
	r.objective(dy)
	r.run.SetGrad(0, dy)
	r.backward(Overwrite)
	grads := r.read(r.store.Grads)
	const h = 1e-5
	for _, e := range r.layout.Entries {
		stride := max(1, e.N/most)
		for i := e.Off; i < e.Off+e.N; i += stride {
			old := r.params[i]
			r.params[i] = old + h
			r.backend.Write(r.store.Values, r.params)
			r.backend.ParamsChanged()
			up := r.objective(dy)
			r.params[i] = old - h
			r.backend.Write(r.store.Values, r.params)
			r.backend.ParamsChanged()
			down := r.objective(dy)
			r.params[i] = old
			r.backend.Write(r.store.Values, r.params)
			r.backend.ParamsChanged()
			want := (up - down) / (2 * h)
			if diff := math.Abs(grads[i] - want); !(diff <= 1e-6*math.Max(1, math.Abs(want))) {
				r.t.Errorf("%s[%d]: gradient %.9g, finite difference %.9g", e.Name, i-e.Off, grads[i], want)
				return
			}
		}
	}
}

// gradCase describes an operation under test: its inputs are parameters of the given shapes.
type gradCase struct {
	name   string
	shapes [][]int
	build  func(g *Graph, in []*Node) *Node
	ids    []int32 // for an input "ids"
}

func (c gradCase) run(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := New(Options{Training: true})
	var in []*Node
	for i, s := range c.shapes {
		in = append(in, g.Param(fmt.Sprintf("p%d", i), s...))
	}
	out := c.build(g, in)
	r := newRig(t, g, rng, true, CompileOptions{Outputs: []*Node{out}})
	if c.ids != nil {
		r.run.SetInput("ids", c.ids)
	}
	r.checkGradients(rng, 40)
}
