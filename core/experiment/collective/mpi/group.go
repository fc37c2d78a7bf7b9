package mpi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tandem/core/experiment/collective"
	"tandem/core/fault"
)

// pieceBytes limits what is exchanged at a time, and so the memory that a sum needs beside its values.
var pieceBytes = 25 << 20 // tests have smaller ones

// grace is how long a call that is stopped may take to return.
const grace = time.Second

// group implements collective.Group.
type group struct {
	thread     *thread
	rank, size int
	calls      int64 // so far; only the thread uses it
	sent       atomic.Int64
	watch      *watch // nil: nobody watches
	memory     memory // nil: ranks do not share any

	mu     sync.Mutex
	broken error // a call ended before its time
	lost   chan struct{}
	cause  error

	// Buffers of the thread: what ranks say when they meet, the pieces of others, places in buffers.
	hello, greetings []byte
	others           []float32
	to, from         []part
}

var _ collective.Group = (*group)(nil)

func newGroup(t *thread, rank, size int) *group {
	return &group{
		thread: t, rank: rank, size: size, lost: make(chan struct{}),
		hello: make([]byte, helloBytes), greetings: make([]byte, size*helloBytes), to: make([]part, size), from: make([]part, size),
	}
}

// Rank implements collective.Group.
func (g *group) Rank() int { return g.rank }

// Size implements collective.Group.
func (g *group) Size() int { return g.size }

// Sent implements collective.Group.
func (g *group) Sent() int64 { return g.sent.Load() }

// Lost implements collective.Group.
func (g *group) Lost() <-chan struct{} { return g.lost }

// Cause implements collective.Group.
func (g *group) Cause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

// lose notes why the group cannot go on; the first reason counts.
func (g *group) lose(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		g.cause = cause
		close(g.lost)
	}
}

// unusable returns why no call can be made, or nil.
func (g *group) unusable() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil {
		return g.cause
	}
	return g.broken
}

// run makes a call on the thread of MPI. When a rank is lost or ctx ends, it stops the call.
func run[T any](ctx context.Context, g *group, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := g.unusable(); err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, fault.New(fault.Canceled, "%w", context.Cause(ctx))
	}
	done := make(chan result, 1)
	g.thread.jobs <- func() {
		g.calls++
		value, err := call()
		done <- result{value, err}
	}
	select {
	case r := <-done:
		if errors.As(r.err, new(broken)) {
			return none, g.abandon(r.err)
		}
		return r.value, r.err
	case <-g.lost:
	case <-ctx.Done():
		g.mu.Lock()
		g.broken = fault.New(fault.Canceled, "a call of this group was stopped: %w", context.Cause(ctx))
		g.mu.Unlock()
	}
	stop()
	select {
	case r := <-done:
		if r.err == nil {
			return r.value, nil
		}
	case <-time.After(grace): // within MPI: for ever, perhaps
	}
	return none, g.unusable()
}

// broken is an error of MPI itself, after which it cannot be used.
type broken struct{ error }

// Unwrap returns the error.
func (b broken) Unwrap() error { return b.error }

// abandon returns why MPI failed: another rank that is gone, if that is known soon, or else what MPI says.
func (g *group) abandon(err error) error {
	select {
	case <-g.lost:
	case <-time.After(2 * beat):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil {
		return g.cause
	}
	g.broken = err
	return err
}

// exchange gives every other rank the part of send in g.to and gets the part of receive in g.from of each.
func (g *group) exchange(send, receive []byte, patient bool) error {
	stopped, err := exchange(send, g.to, receive, g.from, patient)
	if stopped {
		return fault.New(fault.Canceled, "stopped")
	}
	if err != nil {
		return broken{err}
	}
	return nil
}

// pass exchanges payload, which counts.
func (g *group) pass(send, receive []byte) error {
	for r, p := range g.to {
		if r != g.rank {
			g.sent.Add(p.length)
		}
	}
	return g.exchange(send, receive, false)
}
