package train

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// whole reports whether the image tower takes this rank's micro-batches of a step as parts of one request, because they are
// normalised together (Parts.Together). It then goes forward once, and keeps the activations of all.
func (t *Trainer) whole() bool {
	return t.parts.Together && t.ranks.count > 1 && !t.frozen(imageTower)
}

// embedWhole runs the image tower's passes over all micro-batches of this rank, and puts what comes of them in outs.
func (t *Trainer) embedWhole(ctx context.Context, own microBatches, outs []output) (err error) {
	for _, k := range t.lanes[imageTower] {
		p := t.passes[k]
		q := clip.ForwardRequest{Mode: clip.Train, Step: t.state.Step, Micro: t.ranks.first, Parts: len(own)}
		if p.second {
			q.Micro += t.micro
		}
		if outs[k], err = t.run(ctx, p, own.joined(p), q); err != nil {
			return err
		}
	}
	return nil
}

// joined returns the pictures of a pass of all micro-batches in one.
func (m microBatches) joined(p pass) *micro {
	var all *tensor.Tensor
	for i, b := range m {
		images, _ := b.pictures(p)
		if all == nil {
			shape := slices.Clone(images.Shape)
			shape[0] *= len(m)
			all = tensor.New(images.DType, shape...)
		}
		copy(all.Data[i*len(images.Data):], images.Data)
	}
	return &micro{Batch: &clip.Batch{Images: all, Images2: all}}
}

// addWhole completes what the last backward pass of a step takes by what the image tower has of all micro-batches: the
// tickets of embedWhole and the gradients of this rank's samples.
func (t *Trainer) addWhole(outs, part, whole, grads []output) {
	for _, k := range t.lanes[imageTower] {
		outs[k].ticket, part[k] = whole[k].ticket, grads[k]
		if at, of := t.placeIn(t.ranks.first); of > t.ranks.count {
			part[k] = grads[k].part(at/t.ranks.count, of/t.ranks.count)
		}
	}
}
