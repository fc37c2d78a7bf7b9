package train

import (
	"context"
	"maps"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/objective"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// leastShared is the least batch whose loss ranks share out, row by row, where the loss can. It then takes 1/R of the time, and
// the gradients of the embeddings have to be added up. A loss of B pairs takes about 6·B²·D operations: below a thousand pairs
// that is less than what the smallest towers take for them, and the sums would save nothing.
var leastShared = 1024

// sharesRows reports whether each rank computes the loss of its own rows only.
func (t *Trainer) sharesRows() bool {
	return t.ranks.many() && t.parts.LossRows && t.cfg.BatchSize >= leastShared
}

// placeIn says which part of how many of the loss's gradients are those of a micro-batch.
func (t *Trainer) placeIn(number int) (at, of int) {
	if t.sharesRows() {
		return number - t.ranks.first, t.ranks.count
	}
	return number, t.micro
}

// sumRows adds up what each rank computed of the loss for its rows. r then has value and parts of the whole batch, and the gradients
// of this rank's samples alone. squares gets the norm of the loss's own gradient.
func (t *Trainer) sumRows(ctx context.Context, r *clip.LossResult, squares *norms) error {
	names := slices.Sorted(maps.Keys(r.Parts))
	values := []float64{r.Value}
	for _, name := range names {
		values = append(values, r.Parts[name])
	}
	if err := t.cfg.Group.SumDoubles(ctx, values); err != nil {
		return err
	}
	r.Value = values[0]
	for i, name := range names {
		r.Parts[name] = values[1+i]
	}
	places := []**tensor.Tensor{&r.DImage, &r.DText}
	inputs := slices.Sorted(maps.Keys(r.Gradients))
	further := make([]*tensor.Tensor, len(inputs))
	for i, name := range inputs {
		further[i] = r.Gradients[name]
		places = append(places, &further[i])
	}
	for _, p := range places {
		whole := *p
		shape := slices.Clone(whole.Shape)
		shape[0] /= t.ranks.size
		own := tensor.New(tensor.F32, shape...)
		if err := t.cfg.Group.SumShare(ctx, whole.F32(), own.F32()); err != nil {
			return err
		}
		whole.Free()
		*p = own
	}
	for i, name := range inputs {
		r.Gradients[name] = further[i]
	}
	return t.sumLosses(ctx, squares)
}

// sumLosses adds up the gradients of the losses' own parameters, which each rank has of its rows.
func (t *Trainer) sumLosses(ctx context.Context, squares *norms) error {
	squares[2] = 0
	members := objective.Members(t.parts.Loss)
	if t.ranks.lossSums == nil {
		t.ranks.lossSums = make([][]*tensor.Tensor, len(members))
		for i, sizes := range t.parts.LossBuckets {
			t.ranks.lossSums[i] = make([]*tensor.Tensor, len(sizes))
		}
	}
	for i, m := range members {
		for b, before := range t.ranks.lossSums[i] {
			own, err := m.Loss.(clip.Bucketed).Gradients(ctx, b, before)
			if err != nil {
				return err
			}
			if own != before {
				before.Free()
			}
			t.ranks.lossSums[i][b] = own
			square, err := t.cfg.Group.Sum(ctx, own.F32())
			if err != nil {
				return err
			}
			squares[2] += m.Weight * m.Weight * square
		}
	}
	return nil
}

// stepLosses lets every loss take a step along the gradients of all ranks.
func (t *Trainer) stepLosses(ctx context.Context, r StepReport, scale float64) error {
	for i, m := range objective.Members(t.parts.Loss) {
		if err := m.Loss.(clip.Bucketed).StepWith(ctx, r.Step, r.LR, scale*m.Weight, t.ranks.lossSums[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkRows reports losses that cannot do what sharesRows says.
func (t *Trainer) checkRows() error {
	if !t.sharesRows() {
		return nil
	}
	members := objective.Members(t.parts.Loss)
	if len(t.parts.LossBuckets) != len(members) {
		return fault.New(fault.Internal, "buckets of %d losses are known, there are %d", len(t.parts.LossBuckets), len(members))
	}
	for _, m := range members {
		if _, ok := m.Loss.(clip.Bucketed); !ok {
			return fault.New(fault.Invalid, "the loss %s computes rows, and lacks the capability %s", m.Name, clip.CapBuckets).WithPath("loss.plugin")
		}
	}
	return nil
}
