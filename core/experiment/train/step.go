package train

import (
	"context"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

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

	micros, err := batches.next(ctx, stop)
	if err != nil {
		return r, err
	}
	defer micros.free()
	for _, b := range micros {
		if err := t.recall(ctx, b); err != nil {
			return r, err
		}
	}
	if err := t.replaceUnreadable(ctx, t.state.Step, micros); err != nil { // what was found out by recall
		return r, err
	}
	lap(PhaseData)
	if err := t.account(ctx, micros); err != nil {
		return r, err
	}

	var loss *clip.LossResult
	var squares norms
	if t.micro == 1 {
		loss, err = t.stepWhole(ctx, micros[0], batches, &squares, lap)
	} else {
		loss, err = t.stepAccumulated(ctx, micros, batches, &squares, lap)
	}
	if err != nil {
		return r, err
	}
	r.Loss, r.Parts, r.Scalars = loss.Value, loss.Parts, loss.Scalars

	total := 0.0
	for i, s := range squares {
		r.TowerNorms[i] = math.Sqrt(s)
		total += s
	}
	r.GradNorm = math.Sqrt(total)
	if math.IsNaN(r.GradNorm) || math.IsInf(r.GradNorm, 0) {
		return r, fault.New(fault.Numeric, "the gradient is not finite (norms: image %g, text %g, loss %g) at learning rate %g",
			r.TowerNorms[0], r.TowerNorms[1], r.TowerNorms[2], r.LR).
			WithHint("lower train.lr, raise train.warmup_steps or set train.max_grad_norm: 1")
	}
	scale := clipScale(r.GradNorm, t.cfg.MaxGradNorm)
	trainables := []clip.Trainable{t.parts.Image, t.parts.Text, t.parts.Loss}
	err = t.each(ctx, len(trainables), func(ctx context.Context, i int) error {
		if t.frozen(i) {
			return nil
		}
		return trainables[i].Step(ctx, r.Step, r.LR, scale)
	})
	lap(PhaseStep)
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

// stepWhole runs a step's forward, loss and backward when the batch is one micro-batch.
func (t *Trainer) stepWhole(ctx context.Context, b *micro, batches *prefetcher, squares *norms, lap func(Phase)) (*clip.LossResult, error) {
	embs, tickets, err := t.forward(ctx, b, t.nextMicro(nil, 0, batches), clip.Train, 0, false)
	defer freeAll(embs[:])
	if err != nil {
		return nil, err
	}
	lap(PhaseForward)
	loss, err := t.loss(ctx, embs, squares)
	if err != nil {
		return nil, err
	}
	defer freeAll([]*tensor.Tensor{loss.DImage, loss.DText})
	lap(PhaseLoss)
	err = t.backward(ctx, tickets, [2]*tensor.Tensor{loss.DImage, loss.DText}, squares)
	lap(PhaseBackward)
	return loss, err
}

// stepAccumulated does the same in micro-batches, with the gradient of the whole batch (GradCache, Gao et al.
// 2021): embed all, one loss, then forward and backward each.
func (t *Trainer) stepAccumulated(ctx context.Context, micros microBatches, batches *prefetcher, squares *norms, lap func(Phase)) (*clip.LossResult, error) {
	var whole [2]*tensor.Tensor // [B, D]
	for i, b := range micros {
		next := micros[(i+1)%len(micros)] // after the last the first comes again
		embs, _, err := t.forward(ctx, b, next, clip.Embed, i, false)
		if err != nil {
			freeAll(embs[:])
			return nil, err
		}
		for m, e := range embs {
			if whole[m] == nil {
				whole[m] = tensor.New(tensor.F32, t.cfg.BatchSize, e.Shape[1])
			}
			copy(whole[m].Data[i*len(e.Data):], e.Data)
			e.Free()
		}
	}
	lap(PhaseForward)
	loss, err := t.loss(ctx, whole, squares)
	if err != nil {
		return nil, err
	}
	defer freeAll([]*tensor.Tensor{loss.DImage, loss.DText})
	lap(PhaseLoss)
	grads := [2]*tensor.Tensor{loss.DImage, loss.DText}
	for i, b := range micros {
		embs, tickets, err := t.forward(ctx, b, t.nextMicro(micros, i, batches), clip.Train, i, true)
		freeAll(embs[:])
		if err != nil {
			return nil, err
		}
		lap(PhaseForward)
		var part [2]*tensor.Tensor
		for m, g := range grads {
			part[m] = tensor.New(tensor.F32, len(b.Keys), g.Shape[1])
			copy(part[m].Data, g.Data[i*len(part[m].Data):])
		}
		var last *norms
		if i == len(micros)-1 {
			last = squares
		}
		if err := t.backward(ctx, tickets, part, last); err != nil {
			return nil, err
		}
		lap(PhaseBackward)
	}
	return loss, nil
}

// nextMicro returns the micro-batch whose pictures are wanted after those of number i, when it is known.
func (t *Trainer) nextMicro(micros microBatches, i int, batches *prefetcher) *micro {
	if i+1 < len(micros) {
		return micros[i+1]
	}
	if !t.parts.Ahead || t.remember[0] != nil {
		return nil
	}
	if ahead := batches.peek(); len(ahead) > 0 {
		return ahead[0]
	}
	return nil
}

// forward embeds a micro-batch. next is the micro-batch whose pictures come after it, if it is known. again
// says that it was embedded before in this step, so that only the towers with a backward pass to come are run.
func (t *Trainer) forward(ctx context.Context, b, next *micro, mode clip.Mode, micro int, again bool) (embs [2]*tensor.Tensor, tickets [2]clip.Ticket, err error) {
	step := t.state.Step
	requests := [2]clip.ForwardRequest{
		{Images: b.Images, Mode: mode, Step: step, Micro: micro},
		{Texts: b.Captions, Mode: mode, Step: step, Micro: micro},
	}
	if t.parts.Ahead && b.Images != nil {
		requests[0].ID = b.id
		if next != nil && next.Images != nil {
			requests[0].Next, requests[0].NextID = next.Images, next.id
		}
	}
	towers := t.towers()
	err = t.each(ctx, 2, func(ctx context.Context, i int) (err error) {
		if again && t.frozen(i) {
			return nil
		}
		switch {
		case t.remember[i] == nil:
			embs[i], tickets[i], err = towers[i].Forward(ctx, requests[i])
		case i == 0:
			embs[i], err = t.embedImages(ctx, b, requests[i])
		default:
			embs[i], err = t.embedTexts(ctx, requests[i])
		}
		return err
	})
	return embs, tickets, err
}

// frozen says of image tower, text tower and loss, by place, whether there is nothing to train in it.
func (t *Trainer) frozen(i int) bool { return i < len(t.parts.Frozen) && t.parts.Frozen[i] }

// backward gives the towers their gradients. With squares they are the last of the step, and it fills in the
// norms.
func (t *Trainer) backward(ctx context.Context, tickets [2]clip.Ticket, grads [2]*tensor.Tensor, squares *norms) error {
	towers := t.towers()
	return t.each(ctx, 2, func(ctx context.Context, i int) (err error) {
		e := towers[i]
		if t.frozen(i) {
			return nil
		}
		if n, ok := e.(clip.BackwardNormer); ok && squares != nil {
			squares[i], err = n.BackwardNorm(ctx, tickets[i], grads[i])
			return err
		}
		if err = e.Backward(ctx, tickets[i], grads[i]); err == nil && squares != nil {
			squares[i], err = e.GradNorm(ctx)
		}
		return err
	})
}

// loss computes the loss of the whole batch, and the norm of its own gradient, to which nothing is added later.
func (t *Trainer) loss(ctx context.Context, embs [2]*tensor.Tensor, squares *norms) (*clip.LossResult, error) {
	r, sum, err := t.computeNorm(ctx, clip.LossRequest{Image: embs[0], Text: embs[1], Train: true})
	squares[2] = sum
	if err != nil {
		return nil, err
	}
	if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		freeAll([]*tensor.Tensor{r.DImage, r.DText})
		return nil, fault.New(fault.Numeric, "the loss is %g at learning rate %g", r.Value, t.cfg.LR(t.state.Step)).
			WithHint("lower train.lr, raise train.warmup_steps or set train.max_grad_norm: 1")
	}
	return r, nil
}

func (t *Trainer) computeNorm(ctx context.Context, q clip.LossRequest) (*clip.LossResult, float64, error) {
	if n, ok := t.parts.Loss.(clip.ComputeNormer); ok {
		return n.ComputeNorm(ctx, q)
	}
	r, err := t.parts.Loss.Compute(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	sum, err := t.parts.Loss.GradNorm(ctx)
	if err != nil {
		freeAll([]*tensor.Tensor{r.DImage, r.DText})
		return nil, 0, err
	}
	return r, sum, nil
}

func (t *Trainer) towers() [2]clip.Encoder { return [2]clip.Encoder{t.parts.Image, t.parts.Text} }

// each calls f for 0 … n-1, at the same time when the config says so. The first error cancels the others.
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
	for i := range n {
		group.Go(fault.Safely(func() error { return f(ctx, i) }))
	}
	return group.Wait()
}

func freeAll(ts []*tensor.Tensor) {
	for _, t := range ts {
		t.Free()
	}
}
