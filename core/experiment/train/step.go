package train

import (
	"context"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// takeBatch waits for the step's batch and puts other samples in the places of those that cannot be read.
func (t *Trainer) takeBatch(ctx context.Context, batches *prefetcher, stop <-chan struct{}) (microBatches, error) {
	micros, err := batches.next(ctx, stop)
	for _, b := range t.ranks.own(micros) {
		if err == nil {
			err = t.recall(ctx, b)
		}
	}
	if t.ranks.many() {
		return micros, t.completeBatch(ctx, micros, err)
	}
	if err == nil {
		err = t.replaceUnreadable(ctx, t.state.Step, micros) // what was found out by recall
	}
	return micros, err
}

// step runs one optimiser step.
func (t *Trainer) step(ctx context.Context, batches *prefetcher, stop <-chan struct{}) (StepReport, error) {
	r := StepReport{Step: t.state.Step + 1, Steps: t.cfg.Steps, Samples: t.cfg.BatchSize, LR: t.cfg.LR(t.state.Step)}
	start := time.Now()
	mark := start
	lap := func(p Phase) {
		now := time.Now()
		r.Phases[p] += now.Sub(mark)
		mark = now
	}

	sent := t.cfg.Group.Sent()
	t.textsAsked, t.textsLeft = 0, 0

	micros, err := t.takeBatch(ctx, batches, stop)
	defer micros.free()
	if err != nil {
		return r, err
	}
	lap(PhaseData)
	if err := t.account(micros); err != nil {
		return r, err
	}

	var squares norms
	loss, err := t.compute(ctx, micros, batches, &squares, lap)
	if err != nil {
		return r, err
	}
	if t.counted != nil {
		if err := t.addTokens(*t.counted); err != nil {
			return r, err
		}
	}
	r.Loss, r.Parts, r.Scalars = loss.Value, loss.Parts, loss.Scalars
	r.Texts, r.Merged = t.textsAsked, t.textsLeft

	total := 0.0
	for i, s := range squares {
		r.TowerNorms[i] = math.Sqrt(s)
		total += s
	}
	r.GradNorm = math.Sqrt(total)
	if math.IsNaN(r.GradNorm) || math.IsInf(r.GradNorm, 0) {
		return r, t.alike(fault.New(fault.Numeric, "the gradient is not finite (norms: image %g, text %g, loss %g) at learning rate %g",
			r.TowerNorms[0], r.TowerNorms[1], r.TowerNorms[2], r.LR).
			WithHint("lower train.lr, raise train.warmup_steps or set train.max_grad_norm: 1"))
	}
	scale := clipScale(r.GradNorm, t.cfg.MaxGradNorm)
	trainables := []clip.Trainable{t.parts.Image, t.parts.Text, t.parts.Loss}
	err = t.each(ctx, len(trainables), func(ctx context.Context, i int) error {
		if t.frozen(i) {
			return nil
		}
		if i < firstTeacher && t.ranks.many() {
			return t.stepWithSums(ctx, i, r, scale)
		}
		if i == len(t.parts.Frozen) && t.sharesRows() {
			return t.stepLosses(ctx, r, scale)
		}
		if s, ok := trainables[i].(clip.LaterStepper); ok && r.Step < t.cfg.Steps {
			return s.StepLater(ctx, r.Step, r.LR, scale)
		}
		return trainables[i].Step(ctx, r.Step, r.LR, scale)
	})
	lap(PhaseStep)
	t.ranks.note(squares, loss.Value)
	r.Sent = t.cfg.Group.Sent() - sent
	r.Duration = time.Since(start)
	return r, err
}

// clipScale returns the factor that brings a gradient's norm down to maxNorm: 1 when it is below, or when maxNorm
// is 0, which turns clipping off. torch.nn.utils.clip_grad_norm_, which OpenCLIP calls, divides by norm + 1e-6
// against a norm of 0; here only norms above maxNorm are divided by, so there is nothing to guard and the clipped
// norm is maxNorm itself.
func clipScale(norm, maxNorm float64) float64 {
	if maxNorm > 0 && norm > maxNorm {
		return maxNorm / norm
	}
	return 1
}

// norms holds the sums of squares of the gradients of image tower, text tower and loss.
type norms [3]float64

// compute runs a step's forward, loss and backward over this rank's micro-batches. A batch of a single micro-batch is forwarded
// once. Of several, the gradient of the whole batch takes two passes (GradCache, Gao et al. 2021): embed all, one
// loss, then forward and backward each. A tower that normalises all of them together takes them all at once.
func (t *Trainer) compute(ctx context.Context, micros microBatches, batches *prefetcher, squares *norms, lap func(Phase)) (*clip.LossResult, error) {
	own := t.ranks.own(micros)
	outs, err := t.embed(ctx, own, batches)
	if err := t.agree(ctx, err); err != nil {
		freeOutputs(outs)
		return nil, err
	}
	defer freeOutputs(outs)
	whole, err := t.gather(ctx, outs)
	if err != nil {
		return nil, err
	}
	lap(PhaseForward)
	loss, err := t.loss(ctx, micros, whole, squares)
	if loss != nil {
		defer loss.Free()
	}
	if err := t.agree(ctx, err); err != nil {
		return nil, err
	}
	if t.sharesRows() {
		if err := t.sumRows(ctx, loss, squares); err != nil {
			return nil, err
		}
	}
	lap(PhaseLoss)
	first, grads := outs, t.gradients(loss)
	for i, b := range own {
		number := t.ranks.first + i
		if len(own) > 1 {
			again, err := t.forward(ctx, b, t.nextMicro(own, i, batches), clip.Train, number, true)
			if err != nil {
				return nil, err
			}
			freeOutputs(again)
			outs = again
			lap(PhaseForward)
		}
		part := grads
		if at, of := t.placeIn(number); of > 1 {
			part = make([]output, len(grads))
			for k, g := range grads {
				part[k] = g.part(at, of)
			}
		}
		var last *norms
		if i == len(own)-1 {
			last = squares
			if t.whole() {
				t.addWhole(outs, part, first, grads)
			}
		}
		if err := t.backward(ctx, outs, part, last); err != nil {
			return nil, err
		}
		lap(PhaseBackward)
	}
	return loss, nil
}

// embed returns the embeddings of micro-batches together; of a single one with the tickets of its backward pass.
func (t *Trainer) embed(ctx context.Context, own microBatches, batches *prefetcher) ([]output, error) {
	if len(own) == 1 {
		return t.forward(ctx, own[0], t.nextMicro(nil, 0, batches), clip.Train, t.ranks.first, false)
	}
	whole := make([]output, len(t.passes))
	if t.whole() {
		if err := t.embedWhole(ctx, own, whole); err != nil {
			return whole, err
		}
	}
	for i, b := range own {
		next := own[(i+1)%len(own)] // after the last the first comes again
		outs, err := t.forward(ctx, b, next, clip.Embed, t.ranks.first+i, false)
		if err != nil {
			return whole, err
		}
		for k, o := range outs {
			whole[k].put(o, i, len(own))
		}
		freeOutputs(outs)
	}
	return whole, nil
}

// put copies the rows of part i of n into o, which gets the memory for all n.
func (o *output) put(rows output, i, n int) {
	for _, x := range []struct {
		whole **tensor.Tensor
		part  *tensor.Tensor
	}{
		{&o.embedding, rows.embedding}, {&o.tokens, rows.tokens}, {&o.lengths, rows.lengths},
	} {
		if x.part == nil {
			continue
		}
		if *x.whole == nil {
			shape := slices.Clone(x.part.Shape)
			shape[0] *= n
			*x.whole = tensor.New(x.part.DType, shape...)
		}
		copy((*x.whole).Data[i*len(x.part.Data):], x.part.Data)
	}
}

// part copies the rows of part i of n out of o.
func (o output) part(i, n int) output {
	cut := func(whole *tensor.Tensor) *tensor.Tensor {
		if whole == nil {
			return nil
		}
		shape := slices.Clone(whole.Shape)
		shape[0] /= n
		part := tensor.New(whole.DType, shape...)
		copy(part.Data, whole.Data[i*len(part.Data):])
		return part
	}
	return output{embedding: cut(o.embedding), tokens: cut(o.tokens), lengths: cut(o.lengths)}
}

// nextMicro returns the micro-batch whose pictures are wanted after those of number i, when it is known.
func (t *Trainer) nextMicro(micros microBatches, i int, batches *prefetcher) *micro {
	if i+1 < len(micros) {
		return micros[i+1]
	}
	if !t.parts.Ahead || t.remember[0] != nil {
		return nil
	}
	if ahead := t.ranks.own(batches.peek()); len(ahead) > 0 {
		return ahead[0]
	}
	return nil
}

// frozen says of image tower, text tower and loss, by place, whether there is nothing to train in it.
func (t *Trainer) frozen(i int) bool { return i < len(t.parts.Frozen) && t.parts.Frozen[i] }

// each calls f for 0 … n-1, n ≥ 1, at the same time when the config says so. The first error cancels the others. The first call is
// made here, while the others are scheduled: it is the image tower's, which mostly takes longest.
func (t *Trainer) each(ctx context.Context, n int, f func(context.Context, int) error) error {
	if !t.cfg.Parallel {
		for i := range n {
			if err := f(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := 1; i < n; i++ {
		group.Go(fault.Safely(func() error { return f(ctx, i) }))
	}
	if err := fault.Safely(func() error { return f(ctx, 0) })(); err != nil {
		group.Go(func() error { return err }) // cancels the others
	}
	return group.Wait()
}

func freeAll(ts []*tensor.Tensor) {
	for _, t := range ts {
		t.Free()
	}
}
