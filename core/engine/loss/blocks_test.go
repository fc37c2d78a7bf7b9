package loss

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
)

// A loss with negatives and groups that is computed block by block is that of the whole batch.
func TestBlocksGoWithFurtherInputs(t *testing.T) {
	define := func(clip.LossConfig) (Definition, error) {
		return Definition{Inputs: []string{clip.InputTextNegatives, clip.InputGroups}, Report: ReportTemperature,
			Build: func(b Batch) []Part {
				texts, same := Rows(b.Text, b.Input(clip.InputTextNegatives)), b.SameGroup()
				losses := b.Blocks(b.Image, func(rows, partners *graph.Node) *graph.Node {
					cosines := graph.MatMul(rows, b.Text, false, true)
					right := graph.SumCols(graph.Mul(cosines, graph.Gather(same, partners)))
					return graph.Sub(graph.CrossEntropy(graph.MatMul(rows, texts, false, true), partners, 0), right)
				})
				return []Part{{Name: "pairs", Losses: losses, Weight: 1}}
			}}, nil
	}
	req := asked()
	for name := range req.Inputs {
		if name != clip.InputTextNegatives && name != clip.InputGroups {
			delete(req.Inputs, name)
		}
	}
	want, got := computed(t, opened(t, define, configuration), req), computed(t, opened(t, define, configuration, WithBlocks(2*pairs)), req)
	if math.Abs(got.Value-want.Value) > 1e-6 {
		t.Errorf("the value is %v, of the whole %v", got.Value, want.Value)
	}
	for i, v := range want.Gradients[clip.InputTextNegatives].F32() {
		if g := got.Gradients[clip.InputTextNegatives].F32()[i]; math.Abs(float64(g-v)) > 1e-6 {
			t.Errorf("the gradient of negatives[%d] is %v, of the whole %v", i, g, v)
		}
	}
}
