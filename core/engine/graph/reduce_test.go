package graph

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
)

func TestDependsFollowsGradientsOnly(t *testing.T) {
	g := New(Options{})
	x, rows, other := g.Input("x", device.Real, 3, 2), g.Input("rows", device.I32, 2), g.Input("other", device.Real, 3, 2)
	out := []*Node{SumCols(Gather(x, rows))}
	if !Depends(out, x) || Depends(out, rows) || Depends(out, other) {
		t.Errorf("depends on x %v, on the rows to gather %v, on another %v", Depends(out, x), Depends(out, rows), Depends(out, other))
	}
}

func TestMaxColsIsTheLargestOfEachRow(t *testing.T) {
	for cols := 1; cols <= 9; cols++ {
		g := New(Options{})
		x := g.Param("x", 4, cols)
		r := newRig(t, g, rand.New(rand.NewPCG(1, uint64(cols))), true, CompileOptions{Outputs: []*Node{MaxCols(x)}})
		r.forward()
		got := make([]float64, 4)
		if err := r.run.Read(0, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if want := slices.Max(r.params[i*cols : (i+1)*cols]); v-want > 1e-12 || want-v > 1e-12 {
				t.Errorf("of %v the largest is %v", r.params[i*cols:(i+1)*cols], v)
			}
		}
	}
}
