package collective

import "context"

// Single is the group of a training without others.
type Single struct{}

var _ Group = Single{}

// Rank implements Group.
func (Single) Rank() int { return 0 }

// Size implements Group.
func (Single) Size() int { return 1 }

// Gather implements Group.
func (Single) Gather(_ context.Context, mine []byte) ([][]byte, error) { return [][]byte{mine}, nil }

// GatherFloats implements Group.
func (Single) GatherFloats(_ context.Context, mine, all []float32) error {
	copy(all, mine)
	return nil
}

// Sum implements Group.
func (Single) Sum(_ context.Context, values []float32) (float64, error) { return squares(values), nil }

// SumShare implements Group.
func (Single) SumShare(_ context.Context, values, mine []float32) error {
	copy(mine, values)
	return nil
}

// SumDoubles implements Group.
func (Single) SumDoubles(context.Context, []float64) error { return nil }

// Broadcast implements Group.
func (Single) Broadcast(_ context.Context, data []byte) ([]byte, error) { return data, nil }

// Barrier implements Group.
func (Single) Barrier(context.Context) error { return nil }

// Abort implements Group.
func (Single) Abort(error) {}

// Lost implements Group.
func (Single) Lost() <-chan struct{} { return nil }

// Cause implements Group.
func (Single) Cause() error { return nil }

// Sent implements Group.
func (Single) Sent() int64 { return 0 }

// Close implements Group.
func (Single) Close() error { return nil }

// squares adds up the squares of values.
func squares(values []float32) (sum float64) {
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return sum
}
