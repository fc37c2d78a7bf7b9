package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// inBuckets is an instance whose gradients come in buckets.
type inBuckets struct {
	clip.Bucketed
	clip.Trainable
	sizes   []int
	trained int64 // parameters
	// accumulate computes gradients, the same each time. Where during is not nil, it runs beside the last backward pass.
	accumulate func(during func(context.Context) error) error
	probe      func() (*tensor.Tensor, error) // gives numbers that depend on the parameters
}

// bucketWait bounds how long gradients may take after the pass that completes them; beforePass is how long they are waited
// for before it begins, when they must not come yet.
const (
	bucketWait = time.Minute
	beforePass = 10 * time.Millisecond
)

// checkBuckets checks buckets of gradients on instances that with opens: together they are the gradient, and a step with
// them, or with twice as many at half the scale, is the step that the instance takes by itself.
func checkBuckets(with func(func(inBuckets) error) error) error {
	const lr, scale = .05, .5
	var want *tensor.Tensor
	if err := with(func(x inBuckets) (err error) {
		if x.trained == 0 && len(x.sizes) == 0 {
			return notChecked("it trains nothing with these options")
		}
		total := int64(0)
		for _, n := range x.sizes {
			total += int64(n)
		}
		if total != x.trained || slices.Min(append(x.sizes, 1)) < 1 {
			return fmt.Errorf("the buckets have %v gradients, %d parameters are trained", x.sizes, x.trained)
		}
		if err := errors.Join(x.accumulate(nil), x.Step(ctx, 1, lr, scale)); err != nil {
			return err
		}
		want, err = x.probe()
		return err
	}); err != nil {
		return err
	}
	for _, factor := range []float32{1, 2} {
		if err := with(func(x inBuckets) error {
			gradients, err := x.inTime()
			if err != nil {
				return err
			}
			for _, g := range gradients {
				for i := range g.F32() {
					g.F32()[i] *= factor
				}
			}
			if err := x.StepWith(ctx, 1, lr, scale/float64(factor), gradients); err != nil {
				return fmt.Errorf("a step with gradients: %w", err)
			}
			got, err := x.probe()
			if err != nil {
				return err
			}
			if err := checkNear(fmt.Sprintf("after a step with %g times the gradients at the scale %g, and after a step", factor, scale/float64(factor)), got, want, 1e-5); err != nil {
				return err
			}
			if rest, err := x.gradients(ctx); err != nil || square(rest) != 0 {
				return fmt.Errorf("after a step the buckets have the squared norm %v, want 0 (%v)", square(rest), err)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return with(inBuckets.refuse)
}

// inTime returns the buckets of a backward pass, asked for while it runs, and holds them against GradNorm.
func (x inBuckets) inTime() (gradients []*tensor.Tensor, err error) {
	if err := x.accumulate(func(ctx context.Context) (err error) {
		gradients, err = x.gradients(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	norm, err := x.GradNorm(ctx)
	if err != nil {
		return nil, err
	}
	if got := square(gradients); !(norm > 0) || math.Abs(got-norm) > 1e-4*norm {
		return nil, fmt.Errorf("the buckets have the squared norm %v together, GradNorm is %v", got, norm)
	}
	return gradients, nil
}

// gradients returns copies of all buckets.
func (x inBuckets) gradients(ctx context.Context) (out []*tensor.Tensor, err error) {
	for k, n := range x.sizes {
		g, err := x.Gradients(ctx, k, nil)
		if err != nil {
			return nil, fmt.Errorf("bucket %d: %w", k, err)
		}
		if g == nil || g.DType != tensor.F32 || !g.Shape.Equal(tensor.Shape{n}) {
			return nil, fmt.Errorf("bucket %d is %s, want f32 [%d]", k, describe(g), n)
		}
		out = append(out, g.Clone())
		g.Free()
	}
	return out, nil
}

// square returns the squared norm of gradients.
func square(gradients []*tensor.Tensor) (sum float64) {
	for _, g := range gradients {
		sum += dot(g.F32(), g.F32())
	}
	return sum
}

// refuse checks that buckets which do not exist, or of another size, are refused.
func (x inBuckets) refuse() error {
	_, err := x.Gradients(ctx, len(x.sizes), nil)
	last := slices.Clone(x.sizes)
	last[len(last)-1]++
	var wrong []*tensor.Tensor
	for _, n := range last {
		wrong = append(wrong, tensor.New(tensor.F32, n))
	}
	return errors.Join(wantKind("a bucket beyond the last", err, fault.Invalid),
		wantKind("a step with a bucket of another size", x.StepWith(ctx, 1, 0, 1, wrong), fault.Invalid))
}

func (c encoderCase) buckets() error {
	if !slices.Contains(c.o.Capabilities, clip.CapBuckets) {
		return notChecked("it gives no buckets of gradients")
	}
	return checkBuckets(func(f func(inBuckets) error) error {
		return c.with(sgd, func(e *trial) error {
			b, ok := e.Encoder.(clip.BucketedEncoder)
			if !ok {
				return errors.New("it has the capability, and is no BucketedEncoder")
			}
			return f(inBuckets{Bucketed: b, Trainable: e, sizes: e.info.BucketSizes, trained: e.info.Parameters - e.info.Frozen, probe: e.eval,
				accumulate: func(during func(context.Context) error) error { return e.accumulate(b, during) }})
		})
	})
}

// accumulate runs two backward passes, the second as the last of a step where during is not nil.
func (e *trial) accumulate(b clip.BucketedEncoder, during func(context.Context) error) error {
	if err := e.backward(e.cotangent(1)); err != nil {
		return err
	}
	_, ticket, err := e.forward(e.request(clip.Train))
	if err != nil || during == nil {
		return errors.Join(err, e.Backward(ctx, ticket, e.cotangent(2)))
	}
	within, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- during(within) }()
	time.Sleep(beforePass)
	if err := b.BackwardLast(ctx, ticket, e.cotangent(2), nil); err != nil {
		cancel()
		<-done
		return fmt.Errorf("the last backward pass: %w", err)
	}
	return <-done
}

func (c lossCase) buckets() error {
	if !slices.Contains(c.o.Capabilities, clip.CapBuckets) {
		return notChecked("it gives no buckets of gradients")
	}
	return checkBuckets(func(f func(inBuckets) error) error {
		return c.with(sgd, func(l *lossTrial) error {
			b, ok := l.Loss.(clip.Bucketed)
			if !ok {
				return errors.New("it has the capability, and is no Bucketed")
			}
			return f(inBuckets{Bucketed: b, Trainable: l, sizes: l.info.BucketSizes, trained: l.info.Parameters,
				probe: func() (*tensor.Tensor, error) {
					r, err := l.computeOf(c.request(false))
					if err != nil {
						return nil, err
					}
					value := tensor.New(tensor.F32, 1)
					value.F32()[0] = float32(r.Value)
					return value, nil
				},
				accumulate: func(during func(context.Context) error) error {
					_, err := l.computeOf(c.request(true))
					if err != nil || during == nil {
						return err
					}
					return during(ctx)
				}})
		})
	})
}
