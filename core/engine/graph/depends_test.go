package graph

import (
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
