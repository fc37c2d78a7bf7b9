package labtest

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
	"tandem/core/tensor"
)

// Compare describes a loss that takes all that a loss may take but tokens: pairs and second views are pulled together,
// negatives pushed away, teachers followed, and samples of one group kept together.
var Compare = sdk.Loss{Name: "compare", Version: "1.0.0", Summary: "takes every input but tokens",
	Inputs: []string{clip.InputTextNegatives, clip.InputImageView2, clip.InputTeacherImage, clip.InputTeacherText, clip.InputGroups},
	New:    func() clip.Loss { return &compare{} }}

type compare struct {
	pull
	negatives int
}

func (l *compare) Configure(ctx context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	if c.Negatives < 1 || c.TeacherImageDim != c.EmbedDim || c.TeacherTextDim != c.EmbedDim {
		return clip.LossInfo{}, fault.New(fault.Invalid, "%d negatives, teachers of %d and %d dimensions, want them of %d",
			c.Negatives, c.TeacherImageDim, c.TeacherTextDim, c.EmbedDim).WithPath("with")
	}
	l.negatives = c.Negatives
	return l.pull.Configure(ctx, c)
}

func (l *compare) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := l.pull.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	n, dim := q.Image.Shape[0], q.Image.Shape[1]
	texts, view := q.Inputs[clip.InputTextNegatives].Value, q.Inputs[clip.InputImageView2].Value
	if q.Train {
		r.Gradients = map[string]*tensor.Tensor{clip.InputTextNegatives: tensor.New(tensor.F32, texts.Shape...), clip.InputImageView2: tensor.New(tensor.F32, view.Shape...)}
	}
	// add adds weight·a·b of two rows to a part of the value, and the gradients of those that have one.
	add := func(part string, weight float64, a, da *tensor.Tensor, i int, b, db *tensor.Tensor, j int) {
		for d := range dim {
			x, y := a.F32()[i*dim+d], b.F32()[j*dim+d]
			r.Parts[part] += weight * float64(x) * float64(y) / float64(n)
			if da != nil {
				da.F32()[i*dim+d] += float32(weight/float64(n)) * y
			}
			if db != nil {
				db.F32()[j*dim+d] += float32(weight/float64(n)) * x
			}
		}
	}
	groups := q.Inputs[clip.InputGroups].Value.I32()
	for i := range n {
		for k := range l.negatives {
			add("negatives", .5, q.Image, r.DImage, i, texts, r.Gradients[clip.InputTextNegatives], i*l.negatives+k)
		}
		add("view2", -.5, q.Image, r.DImage, i, view, r.Gradients[clip.InputImageView2], i)
		add("teacher_image", -1, q.Image, r.DImage, i, q.Inputs[clip.InputTeacherImage].Value, nil, i)
		add("teacher_text", -1, q.Text, r.DText, i, q.Inputs[clip.InputTeacherText].Value, nil, i)
		for j := range i {
			if groups[i] == groups[j] {
				add("groups", -.1, q.Text, r.DText, i, q.Text, r.DText, j)
			}
		}
	}
	r.Value = 0
	for _, name := range []string{"pull", "negatives", "view2", "teacher_image", "teacher_text", "groups"} {
		r.Value += r.Parts[name]
	}
	return r, nil
}
