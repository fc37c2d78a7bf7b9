package train_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// inBuckets gives the gradients of a linear tower in two buckets, the last row first, as encoders with CapBuckets do.
type inBuckets struct {
	clip.Encoder
	*linear
	mu     sync.Mutex
	passed chan struct{} // closed when the last backward pass of the step is done
}

func bucketSizes(l *linear) []int { return []int{feats, len(l.w) - feats} }

func newInBuckets(e clip.Encoder, l *linear) *inBuckets {
	return &inBuckets{Encoder: e, linear: l, passed: make(chan struct{})}
}

func (b *inBuckets) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	return b.Encoder.Configure(ctx, c)
}

func (b *inBuckets) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	return b.Encoder.Forward(ctx, q)
}

func (b *inBuckets) Backward(ctx context.Context, t clip.Ticket, grad *tensor.Tensor) error {
	return b.Encoder.Backward(ctx, t, grad)
}

func (b *inBuckets) Discard(context.Context, clip.Ticket) error { return nil }
func (b *inBuckets) Close() error                               { return nil }
func (b *inBuckets) GradNorm(context.Context) (float64, error) {
	return 0, errors.New("asked for the norm of a part")
}
func (b *inBuckets) Save(ctx context.Context, path string) error { return b.linear.Save(ctx, path) }
func (b *inBuckets) Load(ctx context.Context, path string) error { return b.linear.Load(ctx, path) }
func (b *inBuckets) Step(context.Context, int, float64, float64) error {
	return errors.New("stepped without sums")
}

func (b *inBuckets) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	return b.Encoder.(clip.TokenEncoder).ForwardTokens(ctx, q)
}

func (b *inBuckets) BackwardTokens(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	return b.Encoder.(clip.TokenEncoder).BackwardTokens(ctx, t, grad, tokens)
}

func (b *inBuckets) CountTokens(ctx context.Context, c *clip.EncoderConfig, texts []string) ([]int, int, error) {
	if counter, ok := b.Encoder.(clip.TokenCounter); ok {
		return counter.CountTokens(ctx, c, texts)
	}
	return nil, 0, fault.New(fault.Unavailable, "it has no tokens")
}

func (b *inBuckets) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) (err error) {
	if tokens != nil {
		err = b.BackwardTokens(ctx, t, grad, tokens)
	} else {
		err = b.Backward(ctx, t, grad)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.passed)
	return err
}

func (b *inBuckets) Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error) {
	b.mu.Lock()
	passed := b.passed
	b.mu.Unlock()
	select {
	case <-passed:
	case <-ctx.Done():
		return nil, fault.New(fault.Canceled, "%w", ctx.Err())
	}
	from := b.g[len(b.g)-feats:]
	if bucket == 1 {
		from = b.g[:len(b.g)-feats]
	}
	if into == nil {
		into = tensor.New(tensor.F32, len(from))
	}
	for i, v := range from {
		into.F32()[i] = float32(v)
	}
	return into, nil
}

func (b *inBuckets) StepWith(_ context.Context, _ int, lr, scale float64, sums []*tensor.Tensor) error {
	all := slices.Concat(sums[1].F32(), sums[0].F32())
	for i, v := range all {
		b.g[i] = float64(v)
	}
	descend(b.w, b.g, lr*scale)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed = make(chan struct{})
	return nil
}

// rowsLoss shares its rows out, as losses with CapRows do.
type rowsLoss struct {
	*clipLoss
	asked []clip.LossRequest
}

func (l *rowsLoss) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	l.asked = append(l.asked, q)
	return l.clipLoss.Compute(ctx, q)
}

func (l *rowsLoss) Gradients(context.Context, int, *tensor.Tensor) (*tensor.Tensor, error) {
	return tensor.FromF32([]float32{float32(l.g[0])}, 1), nil
}

func (l *rowsLoss) StepWith(ctx context.Context, step int, lr, scale float64, sums []*tensor.Tensor) error {
	l.g[0] = float64(sums[0].F32()[0])
	return l.clipLoss.Step(ctx, step, lr, scale)
}

func (l *rowsLoss) Step(context.Context, int, float64, float64) error {
	return errors.New("stepped without sums")
}

// bucketed puts the towers of parts into buckets.
func bucketed(p train.Parts) train.Parts {
	linearOf := func(e clip.Encoder) *linear {
		switch e := e.(type) {
		case *tokenTower:
			return e.linear
		case *seen:
			return e.linear
		case *counting:
			return e.linear
		}
		return e.(*linear)
	}
	image, text := linearOf(p.Image), linearOf(p.Text)
	p.Image, p.Text = newInBuckets(p.Image, image), newInBuckets(p.Text, text)
	p.Buckets = [2][]int{bucketSizes(image), bucketSizes(text)}
	return p
}

// rank is one of the ranks of a training.
type rank struct {
	cfg    train.Config
	parts  train.Parts
	rec    *memory
	hooks  train.Hooks
	stop   chan struct{}
	resume string
	res    train.Result
	err    error
}

// together runs a training on several ranks, each as prepare leaves it.
func together(t *testing.T, size int, cfg train.Config, parts func() train.Parts, prepare func(int, *rank)) []*rank {
	t.Helper()
	groups, ranks := collective.Local(size), make([]*rank, size)
	var all sync.WaitGroup
	for i := range ranks {
		r := &rank{cfg: cfg, parts: bucketed(parts()), rec: newMemory(), stop: make(chan struct{})}
		ranks[i], r.cfg.Group = r, groups[i]
		if prepare != nil {
			prepare(i, r)
		}
		all.Go(func() {
			trainer, err := train.New(r.cfg, r.parts, r.rec, r.hooks)
			if err == nil && r.resume != "" {
				err = trainer.Resume(t.Context(), r.resume)
			}
			if r.err = err; err == nil {
				r.res, r.err = trainer.Run(t.Context(), r.stop)
			}
		})
	}
	all.Wait()
	return ranks
}

func noErrors(t *testing.T, ranks []*rank) {
	t.Helper()
	for i, r := range ranks {
		if r.err != nil {
			t.Fatalf("rank %d: %v", i, r.err)
		}
	}
}

func (r *rank) weights() []float64 {
	loss := r.parts.Loss.(interface{ scale() []float64 }).scale()
	return slices.Concat(r.parts.Image.(*inBuckets).w, r.parts.Text.(*inBuckets).w, loss)
}

func (c *clipLoss) scale() []float64 { return c.s }
