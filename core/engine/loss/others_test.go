package loss

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
)

// What is said of other columns leaves out each row's partner, in blocks as in whole batches; large logits of partners
// leave no trace.
func TestOthersLeaveOutThePartner(t *testing.T) {
	define := func(clip.LossConfig) (Definition, error) {
		return Definition{Report: ReportTemperature, Build: func(b Batch) []Part {
			others := b.Each(b.Image, func(rows, partners *graph.Node) *graph.Node {
				x := graph.Scale(graph.MatMul(rows, b.Text, false, true), 60, 0)
				return b.LogSumExpOfOthers(x, partners)
			})
			own := b.Each(b.Image, func(rows, partners *graph.Node) *graph.Node {
				return b.Positives(graph.MatMul(rows, b.Text, false, true), partners)
			})
			return []Part{{Name: "others", Losses: others, Weight: 1}, {Name: "own", Losses: own, Weight: 1}}
		}}, nil
	}
	req := asked()
	req.Inputs, req.PerSample = nil, true
	cosine := func(i, j int) (sum float64) {
		for k := range dim {
			sum += float64(req.Image.F32()[i*dim+k]) * float64(req.Text.F32()[j*dim+k])
		}
		return sum
	}
	for _, block := range []int{1000, pairs, 2 * pairs, 4 * pairs} {
		r := computed(t, opened(t, define, configuration, double, WithBlocks(block)), req)
		for i := range pairs {
			sum := 0.0
			for j := range pairs {
				if j != i {
					sum += math.Exp(60 * cosine(i, j))
				}
			}
			if got := float64(r.PerSample["others"][i]); math.Abs(got-math.Log(sum)) > 1e-5 {
				t.Errorf("others of %d in blocks of %d: %v, want %v", i, block, got, math.Log(sum))
			}
			if got := float64(r.PerSample["own"][i]); math.Abs(got-cosine(i, i)) > 1e-6 {
				t.Errorf("own of %d in blocks of %d: %v, want %v", i, block, got, cosine(i, i))
			}
		}
	}
}
