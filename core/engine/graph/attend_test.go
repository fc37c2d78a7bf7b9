package graph

import (
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/engine/device/reference"
)

// Attention is in bfloat16 where precision and backend want it so, in both passes and when it is computed again.
func TestAttentionIsInBF16WhereTheBackendHasIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		b       device.Backend
		options Options
		width   int
		want    []bool // by kernel of attention, in order
	}{
		{"backend and precision", &devicetest.Shapes{}, Options{Training: true, BF16: true}, 64, []bool{true, true}},
		{"with checkpointing", &devicetest.Shapes{}, Options{Training: true, BF16: true, Checkpointing: true}, 64, []bool{true, true, true}},
		{"another precision", &devicetest.Shapes{}, Options{Training: true}, 64, []bool{false, false}},
		{"heads of another width", &devicetest.Shapes{}, Options{Training: true, BF16: true}, 48, []bool{false, false}},
		{"another backend", reference.New[float32](1), Options{Training: true, BF16: true}, 64, []bool{false, false}},
	} {
		g := New(c.options)
		x := g.Input("x", device.Real, 2, 5, c.width)
		end := g.Segment()
		qkv := Linear(x, g.Param("w", 3*c.width, c.width), nil, device.Identity)
		out := Linear(Attention(qkv, 2, true), g.Param("out", c.width, c.width), nil, device.Identity)
		end()
		layout := g.Params()
		p, err := Compile(g, c.b, CompileOptions{Outputs: []*Node{out}, Backward: []*Node{out},
			Params: Store{Layout: layout, Values: alloc(t, c.b, layout.Total), Grads: alloc(t, c.b, layout.Total)}})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []bool
		for _, st := range slices.Concat(p.forward, p.backward) {
			switch k := device.WithoutHalf(st.kernel).(type) {
			case device.Attention:
				got = append(got, k.BF16)
			case device.AttentionBack:
				got = append(got, k.BF16)
			}
		}
		p.Close()
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: attention is in bfloat16 %v, want %v", c.name, got, c.want)
		}
	}
}
