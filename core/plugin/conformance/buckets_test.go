package conformance

import (
	"context"
	"sync"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// pieces hands a flat gradient out in two buckets, and may break a rule. With cut, it is cut between them.
type pieces struct {
	fault string
	cut   int
}

// read returns a copy of a bucket.
func (p pieces) read(bucket int, g []float32) (*tensor.Tensor, error) {
	if bucket > 1 {
		if p.fault == "takes any bucket" {
			return tensor.New(tensor.F32, 1), nil
		}
		return nil, fault.New(fault.Invalid, "bucket %d of 2", bucket)
	}
	part := [][]float32{g[:p.cut], g[p.cut:]}[bucket]
	out := tensor.New(tensor.F32, len(part))
	copy(out.F32(), part)
	if p.fault == "leaves a gradient out" && bucket == 1 {
		out.F32()[0] = 0
	}
	return out, nil
}

// write sets the gradient to the buckets.
func (p pieces) write(g []float32, gradients []*tensor.Tensor) error {
	if p.fault != "takes any size" && (len(gradients) != 2 || len(gradients[0].F32()) != p.cut || len(gradients[1].F32()) != len(g)-p.cut) {
		return fault.New(fault.Invalid, "other sizes than those of the buckets")
	}
	if p.fault == "steps with its own gradients" {
		return nil
	}
	if p.fault != "adds to its own gradients" {
		clear(g)
	}
	for k, part := range [][]float32{g[:p.cut], g[p.cut:]} {
		for i := range part {
			part[i] += gradients[k].F32()[i]
		}
	}
	return nil
}

// bucketedLinear is linear in buckets.
type bucketedLinear struct {
	*linear
	pieces
	mu   sync.Mutex
	done chan struct{} // closed once the last backward pass has ended
}

func (l *bucketedLinear) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	info, err := l.linear.Configure(ctx, c)
	l.cut = 5
	info.BucketSizes = []int{5, int(info.Parameters) - 5}
	if l.fault == "counts too few" {
		info.BucketSizes[1]--
	}
	l.done = make(chan struct{})
	return info, err
}

func (l *bucketedLinear) BackwardLast(ctx context.Context, t clip.Ticket, grad, _ *tensor.Tensor) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(l.done)
	return l.linear.Backward(ctx, t, grad)
}

func (l *bucketedLinear) Gradients(ctx context.Context, bucket int, _ *tensor.Tensor) (*tensor.Tensor, error) {
	l.mu.Lock()
	open, done := len(l.tickets), l.done
	l.mu.Unlock()
	if open > 0 && l.fault != "answers early" {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(bucket, l.g)
}

func (l *bucketedLinear) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	if err := l.write(l.g, gradients); err != nil {
		return err
	}
	l.done = make(chan struct{})
	if l.fault == "ignores the scale of given gradients" {
		scale = .5
	}
	left := append([]float32(nil), l.g...)
	err := l.linear.Step(ctx, step, lr, scale)
	if l.fault == "keeps given gradients" {
		copy(l.g, left)
	}
	return err
}

func TestEveryRuleOfBucketsCanBeBroken(t *testing.T) {
	rules := map[string]string{}
	for _, fault := range []string{"answers early", "leaves a gradient out", "steps with its own gradients", "adds to its own gradients",
		"ignores the scale of given gradients", "keeps given gradients", "takes any bucket", "takes any size", "counts too few"} {
		rules[fault] = "buckets"
	}
	breaks(t, func(fault string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &bucketedLinear{linear: &linear{}, pieces: pieces{fault: fault}} },
			EncoderOptions{Capabilities: []string{clip.CapBuckets}, Only: []string{"buckets"}})
	}, rules)
}

// bucketedSquares gives its one gradient as a bucket.
type bucketedSquares struct {
	*squares
	fault string
}

func (l *bucketedSquares) Configure(ctx context.Context, c clip.LossConfig) (clip.LossInfo, error) {
	info, err := l.squares.Configure(ctx, c)
	if info.BucketSizes = []int{1}; l.fault == "has no bucket" {
		info.BucketSizes = nil
	}
	return info, err
}

func (l *bucketedSquares) Gradients(_ context.Context, bucket int, _ *tensor.Tensor) (*tensor.Tensor, error) {
	if bucket > 0 {
		return nil, fault.New(fault.Invalid, "bucket %d of 1", bucket)
	}
	out := tensor.New(tensor.F32, 1)
	if out.F32()[0] = float32(l.g); l.fault == "halves its gradient" {
		out.F32()[0] /= 2
	}
	return out, nil
}

func (l *bucketedSquares) StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error {
	if len(gradients) != 1 || len(gradients[0].F32()) != 1 {
		return fault.New(fault.Invalid, "other sizes than that of the bucket")
	}
	if l.fault != "steps with its own gradient" {
		l.g = float64(gradients[0].F32()[0])
	}
	return l.Step(ctx, step, lr, scale)
}

func TestEveryRuleOfBucketsOfLossesCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckLoss(func() clip.Loss { return &bucketedSquares{&squares{}, fault} },
			LossOptions{Capabilities: []string{clip.CapBuckets}, Only: []string{"buckets"}})
	}, map[string]string{"has no bucket": "buckets", "halves its gradient": "buckets", "steps with its own gradient": "buckets"})
}
