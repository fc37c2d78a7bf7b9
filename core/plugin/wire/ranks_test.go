package wire

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// bucketed implements an encoder of two buckets. Its backward pass ends after both were asked for.
type bucketed struct {
	clip.Encoder
	sizes   []int
	asked   chan int
	last    clip.Ticket
	stepped []*tensor.Tensor
	seen    [][]float32
	lie     func(*tensor.Tensor) *tensor.Tensor // about a bucket
}

func (b *bucketed) Configure(context.Context, clip.EncoderConfig) (clip.EncoderInfo, error) {
	return clip.EncoderInfo{EmbedDim: 2, Parameters: 7, Frozen: 2, BucketSizes: b.sizes}, nil
}

func (b *bucketed) BackwardLast(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	b.last = t
	for range b.sizes {
		select {
		case <-b.asked:
		case <-ctx.Done():
			return fault.New(fault.Canceled, "nobody asks for buckets")
		}
	}
	return nil
}

func (b *bucketed) Gradients(_ context.Context, k int, into *tensor.Tensor) (*tensor.Tensor, error) {
	b.asked <- k
	if into == nil {
		into = tensor.New(tensor.F32, b.sizes[k])
	}
	for i := range into.F32() {
		into.F32()[i] = float32(10*k + i)
	}
	if b.lie != nil {
		return b.lie(into), nil
	}
	return into, nil
}

func (b *bucketed) StepWith(_ context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	b.stepped = gradients
	for _, g := range gradients {
		b.seen = append(b.seen, slices.Clone(g.F32()))
	}
	return nil
}

func (b *bucketed) Step(context.Context, int, float64, float64) error {
	b.stepped = []*tensor.Tensor{}
	return nil
}

func configuredBuckets(t *testing.T, b *bucketed, arena *Arena) clip.BucketedEncoder {
	t.Helper()
	e := EncoderClient(connect(t, b, arena)).(clip.BucketedEncoder)
	if _, err := e.Configure(t.Context(), clip.EncoderConfig{EmbedDim: 2}); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestBucketsCrossTheBorderWhileTheBackwardPassRuns(t *testing.T) {
	for name, arena := range map[string]*Arena{"shared": newArena(t), "inline": nil} {
		t.Run(name, func(t *testing.T) {
			b := &bucketed{sizes: []int{3, 2}, asked: make(chan int, 8)}
			e := configuredBuckets(t, b, arena)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- e.BackwardLast(ctx, 7, tensor.New(tensor.F32, 1, 2), nil) }()
			var gradients []*tensor.Tensor
			for k := range b.sizes {
				g, err := e.Gradients(ctx, k, nil)
				if err != nil {
					t.Fatal(err)
				}
				gradients = append(gradients, g)
			}
			if err := <-done; err != nil || b.last != 7 {
				t.Fatalf("the backward pass of ticket %d: %v", b.last, err)
			}
			place := &gradients[1].Data[0]
			again, err := e.Gradients(ctx, 1, gradients[1])
			if err != nil || again.F32()[1] != 11 {
				t.Fatalf("%v, %v", again, err)
			}
			if arena != nil && (again != gradients[1] || &again.Data[0] != place) {
				t.Error("a bucket is not where it was asked for")
			}
			if err := e.StepWith(ctx, 1, .1, 1, gradients); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(b.seen[0], []float32{0, 1, 2}) || !slices.Equal(b.seen[1], []float32{10, 11}) {
				t.Errorf("the encoder steps with %v", b.seen)
			}
			if arena != nil && &b.stepped[1].Data[0] != place {
				t.Error("a bucket in shared memory is copied for the step")
			}
			for _, g := range gradients {
				g.Free()
			}
		})
	}
}

func TestBucketsAreHeldToTheRules(t *testing.T) {
	invalid := func(what string, err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "bucket") {
			t.Errorf("%s: %v, want an invalid request that names buckets", what, err)
		}
	}
	broken := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v, want a broken rule", what, err)
		}
	}
	ctx := t.Context()
	without := configuredBuckets(t, &bucketed{}, nil)
	_, err := without.Gradients(ctx, 0, nil)
	invalid("no buckets", err)
	invalid("no buckets for a step", without.StepWith(ctx, 1, 1, 1, []*tensor.Tensor{tensor.New(tensor.F32, 5)}))
	invalid("no buckets for a backward pass", without.BackwardLast(ctx, 1, tensor.New(tensor.F32, 1, 2), nil))
	if err := without.StepWith(ctx, 1, 1, 1, nil); err != nil {
		t.Errorf("a step of what trains nothing: %v", err)
	}

	arena := newArena(t)
	b := &bucketed{sizes: []int{3, 2}, asked: make(chan int, 8)}
	e := configuredBuckets(t, b, arena)
	_, err = e.Gradients(ctx, 2, nil)
	invalid("a bucket beyond the last", err)
	invalid("one bucket of two", e.StepWith(ctx, 1, 1, 1, []*tensor.Tensor{tensor.New(tensor.F32, 3)}))
	invalid("another size", e.StepWith(ctx, 1, 1, 1, []*tensor.Tensor{tensor.New(tensor.F32, 3), tensor.New(tensor.F32, 3)}))
	if n := arena.Stats().Slots; n != 0 {
		t.Errorf("%d slots are in use after refused requests", n)
	}
	inline := &bucketed{sizes: []int{3, 2}, asked: make(chan int, 8), lie: func(*tensor.Tensor) *tensor.Tensor { return tensor.New(tensor.F32, 4) }}
	_, err = configuredBuckets(t, inline, nil).Gradients(ctx, 0, nil)
	broken("a bucket of another size", err)
	_, err = EncoderClient(connect(t, &bucketed{sizes: []int{3, 3}}, nil)).Configure(ctx, clip.EncoderConfig{EmbedDim: 2})
	broken("6 gradients of 5 parameters", err)

	plain := EncoderClient(connect(t, &noter{}, nil)).(clip.BucketedEncoder)
	_, err = plain.Configure(ctx, clip.EncoderConfig{EmbedDim: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = plain.Gradients(ctx, 0, nil)
	invalid("a plugin without buckets", err)
}
