// Package collective lets the ranks of one training exchange what they have: embeddings, gradients, counts. A rank is
// one runner with plugins of its own.
//
// Every rank makes the same calls in the same order. All results are the same bits on every rank, and sums are taken in the
// order of ranks, so that neither the network nor the library decides what comes out.
package collective

import (
	"context"
	"encoding/json"

	"tandem/core/fault"
)

// Group is the ranks of a training, seen from one of them. Its methods are for one goroutine at a time, but for Abort,
// Lost and Cause.
//
// When another rank is gone, every call returns fault.Unavailable with the rank that is gone, soon after it is noticed. A call
// may then go on in the background for ever: the group cannot be used any more, and the process is to end.
type Group interface {
	// Rank returns this rank, from 0, and Size their number, at least 1.
	Rank() int
	Size() int
	// Gather returns the bytes of every rank, in the order of ranks. They may have different lengths.
	Gather(ctx context.Context, mine []byte) ([][]byte, error)
	// GatherFloats writes the values of every rank into all, in the order of ranks. Every rank has equally many: len(all) = Size·len(mine).
	GatherFloats(ctx context.Context, mine, all []float32) error
	// Sum adds values up over the ranks, element by element, in place. It returns the sum of the squares of the sums.
	Sum(ctx context.Context, values []float32) (squares float64, err error)
	// SumShare adds values up over the ranks and writes this rank's equal share of the sums into mine: len(values) = Size·len(mine).
	SumShare(ctx context.Context, values, mine []float32) error
	// SumDoubles adds values up over the ranks, in place.
	SumDoubles(ctx context.Context, values []float64) error
	// Broadcast returns the data of rank 0; that of the other ranks is not used.
	Broadcast(ctx context.Context, data []byte) ([]byte, error)
	// Barrier returns when every rank has called it.
	Barrier(ctx context.Context) error
	// Abort tells all other ranks that this one cannot go on, and why. It may be called at any time.
	Abort(reason error)
	// Lost is closed when another rank is gone or has aborted; Cause then says which and why.
	Lost() <-chan struct{}
	Cause() error
	// Sent returns how many bytes of payload this rank gave to others so far.
	Sent() int64
	// Close leaves the group when all ranks do so. It does not wait for ranks that are gone.
	Close() error
}

// BroadcastValue gives every rank the value of rank 0, by way of JSON.
func BroadcastValue[T any](ctx context.Context, g Group, value T) (T, error) {
	if g.Size() == 1 {
		return value, nil
	}
	var data []byte
	if g.Rank() == 0 {
		var err error
		if data, err = json.Marshal(value); err != nil {
			return value, fault.New(fault.Internal, "broadcast: %w", err)
		}
	}
	data, err := g.Broadcast(ctx, data)
	if err != nil || g.Rank() == 0 {
		return value, err
	}
	var got T
	if err := json.Unmarshal(data, &got); err != nil {
		return value, fault.New(fault.Internal, "broadcast: %w", err)
	}
	return got, nil
}

// GatherValues returns the values of all ranks in their order, by way of JSON.
func GatherValues[T any](ctx context.Context, g Group, mine T) ([]T, error) {
	if g.Size() == 1 {
		return []T{mine}, nil
	}
	data, err := json.Marshal(mine)
	if err != nil {
		return nil, fault.New(fault.Internal, "gather: %w", err)
	}
	parts, err := g.Gather(ctx, data)
	if err != nil {
		return nil, err
	}
	all := make([]T, len(parts))
	for i, p := range parts {
		if err := json.Unmarshal(p, &all[i]); err != nil {
			return nil, fault.New(fault.Internal, "gather: rank %d: %w", i, err)
		}
	}
	return all, nil
}
