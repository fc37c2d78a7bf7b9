package train

import (
	"context"
	"math"

	"tandem/core/clip"
	"tandem/core/experiment/objective"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// loss computes the loss of the whole batch from what came of all passes, and the norm of the loss's own gradient, to
// which nothing is added later. Where ranks share its rows out, all that is of this rank's rows (sumRows).
func (t *Trainer) loss(ctx context.Context, micros microBatches, outs []output, squares *norms) (*clip.LossResult, error) {
	q := clip.LossRequest{Train: true}
	if t.sharesRows() {
		q.Rows = t.cfg.BatchSize / t.ranks.size
		q.RowOffset = t.ranks.rank * q.Rows
	}
	give := func(name string, in clip.LossInput) {
		switch name {
		case inputImage:
			q.Image = in.Value
		case inputText:
			q.Text = in.Value
		default:
			if q.Inputs == nil {
				q.Inputs = map[string]clip.LossInput{}
			}
			q.Inputs[name] = in
		}
	}
	for k, p := range t.passes {
		give(p.input, clip.LossInput{Value: outs[k].embedding})
		if p.tokens != "" {
			give(p.tokens, clip.LossInput{Value: outs[k].tokens, Lengths: outs[k].lengths})
		}
	}
	if t.wants(clip.InputGroups) {
		if err := t.tellCaptions(ctx, micros); err != nil {
			return nil, err
		}
		groups := tensor.New(tensor.I32, t.cfg.BatchSize)
		copy(groups.I32(), numberGroups(micros))
		give(clip.InputGroups, clip.LossInput{Value: groups})
	}
	r, sum, err := objective.ComputeNorm(ctx, t.parts.Loss, q)
	squares[2] = sum
	if err != nil {
		return nil, err
	}
	if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		r.Free()
		return nil, fault.New(fault.Numeric, "the loss is %g at learning rate %g", r.Value, t.cfg.LR(t.state.Step)).
			WithHint("lower train.lr, raise train.warmup_steps or set train.max_grad_norm: 1")
	}
	for name, in := range q.Inputs {
		if g := r.Gradients[name]; clip.DifferentiableInput(name) && (g == nil || g.DType != tensor.F32 || !g.Shape.Equal(in.Value.Shape)) {
			r.Free()
			return nil, fault.New(fault.Internal, "the loss gives no gradient of its input %s, f32 %v", name, in.Value.Shape)
		}
	}
	return r, nil
}

// gradients returns the gradient of each pass. The tensors stay the result's.
func (t *Trainer) gradients(r *clip.LossResult) []output {
	of := func(name string) *tensor.Tensor {
		switch name {
		case inputImage:
			return r.DImage
		case inputText:
			return r.DText
		}
		return r.Gradients[name]
	}
	grads := make([]output, len(t.passes))
	for k, p := range t.passes {
		if p.encoder < firstTeacher {
			grads[k].embedding = of(p.input)
		}
		if p.tokens != "" {
			grads[k].tokens = of(p.tokens)
		}
	}
	return grads
}

// numberGroups numbers the groups of a batch from 0, in the order of their first samples. Samples have the same number
// when the dataset gives them one group or when their captions are equal, which then describe each other's pictures
// as well; so have those that a chain of such samples connects.
func numberGroups(micros microBatches) []int32 {
	var parent []int // the first known sample of the same group, or itself
	first := func(i int) int {
		for parent[i] != i {
			i = parent[i]
		}
		return i
	}
	byGroup, byCaption := map[int64]int{}, map[string]int{}
	for _, m := range micros {
		for at, caption := range m.Captions {
			i := len(parent)
			parent = append(parent, i)
			join := func(other int, known bool) {
				if known {
					a, b := first(i), first(other)
					parent[max(a, b)] = min(a, b)
				}
			}
			other, known := byCaption[caption]
			join(other, known)
			byCaption[caption] = i
			if at < len(m.Groups) {
				other, known = byGroup[m.Groups[at]]
				join(other, known)
				byGroup[m.Groups[at]] = i
			}
		}
	}
	numbers, next := make([]int32, len(parent)), int32(0)
	for i := range parent {
		if f := first(i); f == i {
			numbers[i] = next
			next++
		} else {
			numbers[i] = numbers[f]
		}
	}
	return numbers
}
