package conformance

import (
	"context"
	"fmt"
	"time"

	"tandem/core/fault"
)

// longCall is how long a call must take for its cancellation to be seen.
const longCall = time.Second

// endsSoon checks that a call ends soon after it was cancelled on its way. call makes a call with n samples, more of
// them until it takes long; a plugin that is too fast for that passes. idle returns when the instance is free again.
func endsSoon(call func(ctx context.Context, n int) error, idle func() error, n int) error {
	var took time.Duration
	for range 3 {
		start := time.Now()
		if err := call(ctx, n); err != nil {
			return fmt.Errorf("a batch of %d: %w", n, err)
		}
		if took = time.Since(start); took > longCall {
			break
		}
		n *= 8
	}
	if took <= longCall {
		return nil
	}
	brief, cancel := context.WithTimeout(ctx, took/8)
	defer cancel()
	start := time.Now()
	err := call(brief, n)
	if idleErr := idle(); idleErr != nil {
		return fmt.Errorf("after a cancelled call: %w", idleErr)
	}
	if late := time.Since(start) - took/8; late > took*5/8 {
		return fmt.Errorf("a call that takes %v goes on for %v after it was cancelled", took.Round(10*time.Millisecond), late.Round(10*time.Millisecond))
	}
	if err == nil {
		return nil // it had ended
	}
	return wantKind("a call that is cancelled on its way", err, fault.Canceled)
}

func (e *trial) endsSoon() error {
	return endsSoon(func(ctx context.Context, n int) error {
		many := *e
		many.o.Batch = n
		out, _, err := e.Forward(ctx, many.request(0))
		if err == nil {
			out.Free()
		}
		return err
	}, func() error { _, err := e.GradNorm(ctx); return err }, e.o.Batch)
}

func (l *lossTrial) endsSoon() error {
	return endsSoon(func(ctx context.Context, n int) error {
		many := lossCase{o: l.o}
		many.o.Batch = n
		_, err := l.Compute(ctx, many.request(false))
		return err
	}, func() error { _, err := l.GradNorm(ctx); return err }, l.o.Batch)
}
