package build

import (
	"context"
	"sync"

	"tandem/core/fault"
)

// inOrder runs jobs on n goroutines and passes what they return to take, in the order in which feed emits the jobs. It stops at the
// first error.
func inOrder[T any](ctx context.Context, n int, feed func(ctx context.Context, emit func(func() T) error) error, take func(T) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type future struct {
		job  func() T
		done chan T
	}
	queue, order := make(chan future), make(chan future, 8*n)
	var workers sync.WaitGroup
	for range n {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for f := range queue {
				f.done <- f.job()
			}
		}()
	}
	fed := make(chan error, 1)
	go func() {
		defer close(order)
		defer close(queue)
		fed <- feed(ctx, func(job func() T) error {
			f := future{job, make(chan T, 1)}
			select {
			case order <- f:
			case <-ctx.Done():
				return fault.New(fault.Canceled, "%w", ctx.Err())
			}
			queue <- f // workers take it: they never wait
			return nil
		})
	}()
	var err error
	for f := range order {
		v := <-f.done
		if err == nil {
			if err = take(v); err != nil {
				stop()
			}
		}
	}
	workers.Wait()
	if fedErr := <-fed; err == nil {
		err = fedErr
	}
	return err
}
