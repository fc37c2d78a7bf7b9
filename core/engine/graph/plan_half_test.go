//go:build onednn

package graph

import (
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/onednn"
)

func TestPlanKnowsWhatIsKeptAsHalf(t *testing.T) {
	b, err := onednn.New(1)
	if err != nil {
		t.Skip(err)
	}
	defer b.Close()
	build := func() (*Graph, CompileOptions) {
		g := New(Options{Training: true, BF16: true})
		g, out := pictureTower(g, 2, 16, 4, 32, 2, 2)
		return g, CompileOptions{Outputs: []*Node{out}, Backward: []*Node{out}, Params: Store{Layout: g.Params()}}
	}
	g, options := build()
	wide, err := Plan(g, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	g, options = build()
	got, err := Plan(g, b, options)
	if err != nil {
		t.Fatal(err)
	}
	g, options = build()
	options.Params.Values, options.Params.Grads = alloc(t, b, options.Params.Layout.Total), alloc(t, b, options.Params.Layout.Total)
	p, err := Compile(g, b, options)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, ok := b.(device.Halver); !ok || got != p.Memory() || got.Activations >= wide.Activations {
		t.Errorf("planned %+v, compiled %+v, in float32 %+v", got, p.Memory(), wide)
	}
}
