package clip

import (
	"context"

	"tandem/core/tensor"
)

// Bucketed is implemented by encoders and losses with CapBuckets. Several ranks, each with a process of its own, train
// equal copies of them: the runner adds the gradients of all ranks up, bucket by bucket, and every copy takes the same step.
type Bucketed interface {
	// Gradients returns the accumulated gradients of one bucket, f32 [BucketSizes[bucket]] (EncoderInfo, LossInfo), in into
	// where that fits; zeros when there was no backward pass since the last step. The buckets hold every gradient that is
	// trained, once, those that a backward pass finishes first in front.
	//
	// It is the one method that may be called while BackwardLast runs, and shortly before, as callers on several goroutines
	// cannot tell: while a ticket is open and no BackwardLast has begun since the last step, it waits for one. While
	// BackwardLast runs it answers as soon as that pass adds no more to the bucket. A bucket that does not exist yields
	// fault.Invalid.
	Gradients(ctx context.Context, bucket int, into *tensor.Tensor) (*tensor.Tensor, error)
	// StepWith does what Step does with gradients, a tensor for each bucket, in the place of those accumulated. Those
	// that Gradients returns give what Step gives, to the bit where gradients accumulate in f32.
	StepWith(ctx context.Context, step int, lr, scale float64, gradients []*tensor.Tensor) error
}

// BucketedEncoder is an encoder that is Bucketed.
type BucketedEncoder interface {
	Encoder
	Bucketed
	// BackwardLast does what Backward does, or BackwardTokens when tokens is not nil. No other backward pass comes before the
	// next step, so that a bucket is finished when this pass adds no more to it.
	BackwardLast(ctx context.Context, t Ticket, grad, tokens *tensor.Tensor) error
}

// Exchanger is implemented by encoders with CapExchange.
type Exchanger interface {
	// Exchange gives the encoder a function that adds values up over all ranks, element by element, in place; every rank gets
	// the same bits. It is called once, after Configure, where there are other ranks. Until Close the encoder calls sum only
	// within Forward in mode Train or Embed and within Backward, equally often and with equally many values on every
	// rank; within Embed and Backward only with EncoderConfig.SyncNorm. Without it the encoder keeps what it has beside parameters,
	// such as running statistics, the same on all ranks.
	Exchange(ctx context.Context, sum func(ctx context.Context, values []float64) error) error
}

// Communicator names a group of GPU processes that add gradients up among themselves: BackwardLast then leaves the sums of all
// ranks where it would leave the gradients, for GradNorm and Step, and there are no buckets (EncoderInfo.BucketSizes).
type Communicator struct {
	ID         []byte // of ncclGetUniqueId, the same on all ranks
	Rank, Size int
}
