package collective

import (
	"context"
	"sync"
	"sync/atomic"

	"tandem/core/fault"
)

// Local returns the ranks of a group within one process, each for a goroutine of its own. Tests use it where the field has
// processes.
func Local(size int) []Group {
	m := &meeting{size: size, lost: make(chan struct{})}
	groups := make([]Group, size)
	for r := range groups {
		groups[r] = &local{meeting: m, rank: r}
	}
	return groups
}

// meeting is where local ranks exchange: every round each brings something, and all see what all brought.
type meeting struct {
	size  int
	mu    sync.Mutex
	round *round
	lost  chan struct{}
	cause error
}

type round struct {
	brought []any
	missing int
	full    chan struct{}
}

// exchange brings something and returns what every rank brought.
func (m *meeting) exchange(ctx context.Context, rank int, mine any) ([]any, error) {
	m.mu.Lock()
	if m.cause != nil {
		defer m.mu.Unlock()
		return nil, m.cause
	}
	if m.round == nil {
		m.round = &round{brought: make([]any, m.size), missing: m.size, full: make(chan struct{})}
	}
	r := m.round
	r.brought[rank] = mine
	if r.missing--; r.missing == 0 {
		m.round = nil
		close(r.full)
	}
	m.mu.Unlock()
	select {
	case <-r.full:
		return r.brought, nil
	case <-m.lost:
		m.mu.Lock()
		defer m.mu.Unlock()
		return nil, m.cause
	case <-ctx.Done():
		return nil, fault.New(fault.Canceled, "%w", ctx.Err())
	}
}

type local struct {
	*meeting
	rank int
	sent atomic.Int64
}

var _ Group = (*local)(nil)

// Rank implements Group.
func (l *local) Rank() int { return l.rank }

// Size implements Group.
func (l *local) Size() int { return l.size }

// Gather implements Group.
func (l *local) Gather(ctx context.Context, mine []byte) ([][]byte, error) {
	return gather(ctx, l, mine, len(mine))
}

// gather returns copies of what each rank brought.
func gather[T any](ctx context.Context, l *local, mine []T, bytes int) ([][]T, error) {
	l.sent.Add(int64(bytes * (l.size - 1)))
	all, err := l.exchange(ctx, l.rank, append([]T(nil), mine...))
	if err != nil {
		return nil, err
	}
	parts := make([][]T, len(all))
	for i, x := range all {
		part, ok := x.([]T)
		if !ok {
			return nil, fault.New(fault.Internal, "rank %d and rank %d make different calls", l.rank, i)
		}
		parts[i] = part
	}
	return parts, nil
}

// GatherFloats implements Group.
func (l *local) GatherFloats(ctx context.Context, mine, all []float32) error {
	parts, err := gather(ctx, l, mine, 4*len(mine))
	for i, p := range parts {
		if len(p) != len(mine) {
			return fault.New(fault.Internal, "rank %d gathers %d values, rank %d %d", l.rank, len(mine), i, len(p))
		}
		copy(all[i*len(mine):], p)
	}
	return err
}

// Sum implements Group.
func (l *local) Sum(ctx context.Context, values []float32) (float64, error) {
	parts, err := gather(ctx, l, values, 4*len(values))
	if err != nil {
		return 0, err
	}
	if err := addUp(values, parts); err != nil {
		return 0, err
	}
	return squares(values), nil
}

// SumShare implements Group.
func (l *local) SumShare(ctx context.Context, values, mine []float32) error {
	sums := append([]float32(nil), values...)
	_, err := l.Sum(ctx, sums)
	copy(mine, sums[min(len(sums), l.rank*len(mine)):])
	return err
}

// SumDoubles implements Group.
func (l *local) SumDoubles(ctx context.Context, values []float64) error {
	parts, err := gather(ctx, l, values, 8*len(values))
	if err != nil {
		return err
	}
	return addUp(values, parts)
}

// addUp writes the sums of parts, in their order, into values.
func addUp[T float32 | float64](values []T, parts [][]T) error {
	for i, p := range parts {
		if len(p) != len(values) {
			return fault.New(fault.Internal, "rank %d adds %d values, another %d", i, len(p), len(values))
		}
		if i == 0 {
			copy(values, p)
			continue
		}
		for k, v := range p {
			values[k] += v
		}
	}
	return nil
}

// Broadcast implements Group.
func (l *local) Broadcast(ctx context.Context, data []byte) ([]byte, error) {
	if l.rank != 0 {
		data = nil
	}
	parts, err := l.Gather(ctx, data)
	if err != nil {
		return nil, err
	}
	return parts[0], nil
}

// Barrier implements Group.
func (l *local) Barrier(ctx context.Context) error {
	_, err := l.Gather(ctx, nil)
	return err
}

// Abort implements Group.
func (l *local) Abort(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = fault.New(fault.Unavailable, "rank %d cannot go on: %w", l.rank, reason)
		close(l.lost)
	}
}

// Lost implements Group.
func (l *local) Lost() <-chan struct{} { return l.lost }

// Cause implements Group.
func (l *local) Cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Sent implements Group.
func (l *local) Sent() int64 { return l.sent.Load() }

// Close implements Group.
func (l *local) Close() error { return nil }
