package conformance

import (
	"context"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// products implements a loss of every input, which may break a rule. Of each sample's image v it adds up the products
// with its negatives, its second view and its tokens, and with the images of its group:
//
//	½·|v − t|² + Σ_k ⟨v, n_k⟩ + ⟨v, w⟩ + Σ_k ⟨v, a_k⟩ + 2 Σ_k ⟨t, b_k⟩ + Σ_{j of the group} ⟨v, v_j⟩ + ‖teachers'‖
type products struct {
	squares
	fault string
}

func (l *products) Configure(ctx context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	if c.Negatives == 0 || c.TeacherImageDim == 0 || c.TeacherTextDim == 0 {
		return clip.LossInfo{}, fault.New(fault.Invalid, "no negatives or teachers")
	}
	return l.squares.Configure(ctx, c)
}

func (l *products) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	b := q.Image.Shape[0]
	for _, name := range clip.LossInputs {
		x := q.Inputs[name]
		if x.Value == nil && l.fault == "takes what there is" {
			x.Value = Further([]string{name}, b, q.Image.Shape[1])[name].Value
		}
		rows := b
		if name == clip.InputTextNegatives {
			rows *= negatives
		}
		if x.Value == nil || x.Value.Shape[0] != rows && l.fault != "takes any number of rows" {
			return nil, fault.New(fault.Invalid, "%s is missing or does not fit", name)
		}
	}
	r, err := l.squares.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	d := q.Image.Shape[1]
	gradients := map[string]*tensor.Tensor{}
	row := func(t *tensor.Tensor, i int) []float32 { return t.F32()[i*d : (i+1)*d] }
	// add adds the product of row i of the embeddings x with row j of an input.
	add := func(x, dx *tensor.Tensor, i int, name string, j int, weight float64) {
		in := q.Inputs[name].Value
		if gradients[name] == nil {
			gradients[name] = tensor.New(tensor.F32, in.Shape...)
		}
		if (j+1)*d > len(in.F32()) {
			return
		}
		r.Value += weight * dot(row(x, i), row(in, j)) / float64(b)
		for c := range d {
			row(gradients[name], j)[c] += float32(weight) * row(x, i)[c] / float32(b)
			if dx != nil {
				row(dx, i)[c] += float32(weight) * row(in, j)[c] / float32(b)
			}
		}
	}
	groups := q.Inputs[clip.InputGroups].Value.I32()
	for i := range b {
		for k := range negatives {
			at := i*negatives + k
			if l.fault == "takes negatives text by text" {
				at = k*b + i
			}
			add(q.Image, r.DImage, i, clip.InputTextNegatives, at, 1)
		}
		add(q.Image, r.DImage, i, clip.InputImageView2, i, 1)
		for _, name := range []string{clip.InputImageTokens, clip.InputTextTokens} {
			x, dx, weight := q.Image, r.DImage, 1.0
			if name == clip.InputTextTokens {
				x, dx, weight = q.Text, r.DText, 2
			}
			for k := range int(q.Inputs[name].Lengths.I32()[i]) {
				add(x, dx, i, name, i*q.Inputs[name].Value.Shape[1]+k, weight)
			}
		}
		for j := range b {
			if j < len(groups) && i < len(groups) && groups[i] == groups[j] {
				r.Value += dot(row(q.Image, i), row(q.Image, j)) / float64(b)
				for c := range d {
					if r.DImage != nil {
						row(r.DImage, i)[c] += 2 * row(q.Image, j)[c] / float32(b)
					}
				}
			}
		}
	}
	for _, name := range []string{clip.InputTeacherImage, clip.InputTeacherText} {
		r.Value += dot(q.Inputs[name].Value.F32(), q.Inputs[name].Value.F32()) / float64(b)
	}
	switch l.fault {
	case "wrong sign of the view's gradient":
		for i := range gradients[clip.InputImageView2].F32() {
			gradients[clip.InputImageView2].F32()[i] *= -1
		}
	case "one gradient too few":
		delete(gradients, clip.InputTextTokens)
	case "a gradient in another shape":
		gradients[clip.InputImageTokens] = tensor.New(tensor.F32, b, d)
	case "changes its groups":
		groups[0]++
	case "no gradient of negatives":
		clear(gradients[clip.InputTextNegatives].F32())
	}
	if q.Train {
		r.Gradients = gradients
	}
	return r, nil
}

func TestEveryRuleOfFurtherInputsCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckLoss(func() clip.Loss { return &products{fault: fault} },
			LossOptions{Inputs: clip.LossInputs, Only: []string{"result", "inputs unmodified", "permutation", "embedding gradients", "input gradients", "bad inputs", "save and load"}})
	}, map[string]string{
		"takes what there is":               "bad inputs",
		"takes any number of rows":          "bad inputs",
		"one gradient too few":              "result",
		"a gradient in another shape":       "result",
		"changes its groups":                "inputs unmodified",
		"takes negatives text by text":      "permutation",
		"wrong sign of the view's gradient": "input gradients",
		"no gradient of negatives":          "input gradients",
	})
}

// A loss without further inputs has rules that there is nothing to check of.
func TestALossOfTwoEmbeddingsHasNoFurtherRules(t *testing.T) {
	for _, f := range CheckLoss(func() clip.Loss { return &squares{} }, LossOptions{Only: []string{"input gradients", "bad inputs"}}) {
		if slices.Contains([]string{"input gradients", "bad inputs"}, f.Rule) && f.Skipped == "" {
			t.Errorf("%s was checked", f.Rule)
		}
	}
}
