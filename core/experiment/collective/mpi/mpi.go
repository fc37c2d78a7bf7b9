// Package mpi makes a collective.Group of the processes that mpirun or srun --mpi=pmix started.
//
// The runner is linked without MPI. It opens libtandem-mpi.so, a shim that `make mpi` compiles from the folder shim with the mpicc of
// the machine, and so works with whatever MPI that is. All calls of MPI are made by one thread (MPI_THREAD_SERIALIZED).
//
// MPI carries bytes here, and sums are this package's own: each rank gets its share of the others' values, adds them up in the order of
// ranks in f32, and gives the sums to all. The bits do not depend on MPI's algorithm, and equal those of collective.Local. A rank sends
// 2·(R−1)/R of the values' bytes, as the best algorithms do. Large values go in pieces of 25 MB.
//
// Ranks on one machine that share the memory of their values (collective.Sharer) send nothing: each maps the others' memory by
// /proc/PID/fd/N, reads its share of all ranks' values there and writes the sums to all. They meet before and after. What is counted as
// given to others is the same.
//
// Ranks meet before anything is exchanged: they compare what they are about to do, so that different calls are an error, and they
// wait with short sleeps, since MPI's blocking calls would take a core from the encoder that this rank waits for.
//
// MPI does not say when a rank is gone. Each rank has a TCP connection to rank 0 beside it (watch), over which they say that they live,
// why they end, and which rank is gone.
package mpi

import (
	"context"
	"errors"
	"os"
	"runtime"

	"tandem/core/experiment/collective"
	"tandem/core/fault"
)

// Open returns the group of the processes that this one was started with, or collective.Single if it was started alone (Detect).
// It is called once in a process. All ranks call it, and wait there for each other.
func Open(ctx context.Context) (collective.Group, error) {
	launch, several := Detect(os.Environ())
	if !several {
		return collective.Single{}, nil
	}
	g, err := open(ctx, launch)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func open(ctx context.Context, launch Launch) (*group, error) {
	op := launch.String()
	if launch.Plain {
		return nil, fault.New(fault.Invalid, "srun gave it nothing that MPI needs").WithOp(op).
			WithHint("start the ranks with srun --mpi=pmix (srun --mpi=list shows what there is), or one process with srun -n 1")
	}
	t := newThread()
	var rank, size int
	var err error
	if failed := t.do(ctx, func() {
		if err = load(); err == nil {
			rank, size, err = start()
		}
	}); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, within(err, op)
	}
	if launch.Size > 0 && size != launch.Size || launch.Rank != rank {
		return nil, fault.New(fault.Invalid, "MPI says that this is rank %d of %d: its library (%s) and %s do not belong together", rank, size, version(), launch.By).WithOp(op).
			WithHint("make mpi on this machine with the mpicc that belongs to its mpirun; with Slurm, start the ranks with srun --mpi=pmix")
	}
	g := newGroup(t, rank, size)
	if err := g.startWatch(ctx); err != nil {
		return nil, within(err, op)
	}
	return g, nil
}

// within puts an operation in front of an error.
func within(err error, op string) error {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Op == "" {
		e.Op = op
	}
	return err
}

// thread is the one thread that calls MPI.
type thread struct{ jobs chan func() }

func newThread() *thread {
	t := &thread{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range t.jobs {
			job()
		}
	}()
	return t
}

// do runs a job on the thread. When ctx ends first, it returns and the job may go on.
func (t *thread) do(ctx context.Context, job func()) error {
	done := make(chan struct{})
	select {
	case t.jobs <- func() { job(); close(done) }:
	case <-ctx.Done():
		return fault.New(fault.Canceled, "%w", context.Cause(ctx))
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Canceled, "%w", context.Cause(ctx))
	}
}
