package loss

import (
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
)

// filip defines the loss of FILIP (Yao et al. 2022, §3.1): the similarity of a picture and a caption is the mean, over
// the tokens of one, of the cosine with the most similar token of the other.
func filip(clip.LossConfig) (Definition, error) {
	return Definition{
		Inputs:  []string{clip.InputImageTokens, clip.InputTextTokens},
		Scalars: []Scalar{{Name: LogitScale, Init: 1, Max: 9}}, Learn: true, Report: ReportTemperature,
		Build: func(b Batch) []Part {
			// logits [B, B] of the samples of one side, which are rows, with those of the other.
			logits := func(rows, others string) *graph.Node {
				x, y := b.Input(rows), b.Input(others)
				n, m, d := x.Dim(1), y.Dim(1), x.Dim(2)
				cosines := graph.MatMul(graph.Reshape(x, b.Size*n, d), graph.Reshape(y, b.Size*m, d), false, true)
				after := graph.Scale(graph.Reshape(b.Mask(others), b.Size*m), 2, -2) // −2 where there is no token
				most := graph.MaxCols(graph.Reshape(graph.Add(cosines, after), b.Size*n, b.Size, m))
				mean := graph.MeanTokens(graph.Reshape(most, b.Size, n, b.Size), b.Lengths(rows))
				return graph.ScaleByExp(mean, b.Scalars[LogitScale])
			}
			part := func(name, rows, others string) Part {
				return Part{Name: name, Weight: .5, Losses: graph.CrossEntropy(logits(rows, others), b.Partners(0, b.Size), 0)}
			}
			return []Part{part("image_to_text", clip.InputImageTokens, clip.InputTextTokens), part("text_to_image", clip.InputTextTokens, clip.InputImageTokens)}
		},
	}, nil
}

// The loss is that of loops over all tokens of all pairs, and so is its gradient by finite differences.
func TestALossOverTokensIsThatOfLoops(t *testing.T) {
	value := func(req clip.LossRequest) (sum float64) {
		half := func(rows, others clip.LossInput) {
			token := func(x clip.LossInput, i, k int) []float32 { return x.Value.F32()[(i*x.Value.Shape[1]+k)*dim:][:dim] }
			for i := range pairs {
				logits, all := make([]float64, pairs), 0.0
				for j := range pairs {
					for k := range int(rows.Lengths.I32()[i]) {
						most := math.Inf(-1)
						for l := range int(others.Lengths.I32()[j]) {
							cosine := 0.0
							for c, v := range token(rows, i, k) {
								cosine += float64(v) * float64(token(others, j, l)[c])
							}
							most = max(most, cosine)
						}
						logits[j] += math.E * most / float64(rows.Lengths.I32()[i])
					}
					all += math.Exp(logits[j])
				}
				sum += (math.Log(all) - logits[i]) / (2 * pairs)
			}
		}
		half(req.Inputs[clip.InputImageTokens], req.Inputs[clip.InputTextTokens])
		half(req.Inputs[clip.InputTextTokens], req.Inputs[clip.InputImageTokens])
		return sum
	}
	c := configuration
	c.Compute.Device = "cpu"
	for name, l := range map[string]*Loss{"double": opened(t, filip, configuration, double), "cpu": opened(t, filip, c)} {
		req := asked()
		for input := range req.Inputs {
			if !clip.TokenInput(input) {
				delete(req.Inputs, input)
			}
		}
		got := computed(t, l, req)
		if want := value(req); math.Abs(got.Value-want) > 1e-6 {
			t.Errorf("%s: %v, want %v", name, got.Value, want)
		}
		for input, g := range got.Gradients {
			x := req.Inputs[input].Value.F32()
			for i := range x {
				const step = 1.0 / 4096
				old := x[i]
				x[i] = old + step
				up := value(req)
				x[i] = old - step
				down := value(req)
				x[i] = old
				if slope := (up - down) / (2 * step); math.Abs(slope-float64(g.F32()[i])) > 5e-5 {
					t.Errorf("%s: the gradient of %s[%d] is %v, want %v", name, input, i, g.F32()[i], slope)
				}
			}
		}
	}
}
