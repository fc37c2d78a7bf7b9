package train

import (
	"context"
	"slices"

	"tandem/core/fault"
)

// microBatches are the parts of one step's batch.
type microBatches []*micro

func (m microBatches) free() {
	for _, b := range m {
		b.free()
	}
}

type fetched struct {
	micros microBatches
	err    error
}

// prefetcher fetches the batches of the next steps while a step computes.
type prefetcher struct{ out chan fetched }

// prefetch starts fetching from a step (from 0) on.
func (t *Trainer) prefetch(ctx context.Context, step int) *prefetcher {
	p := &prefetcher{out: make(chan fetched, t.cfg.Prefetch-1)}
	go func() {
		defer close(p.out)
		order := orders{cfg: &t.cfg}
		seen := &recent{keep: t.cfg.Prefetch + 2} // beside those ahead, one in hand and one that computes
		for ; step < t.cfg.Steps; step++ {
			epoch, indices := order.batch(step)
			seen.next()
			micros, err := t.fetch(ctx, epoch, slices.Clone(indices), seen)
			select {
			case p.out <- fetched{micros, err}:
			case <-ctx.Done():
				micros.free()
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (t *Trainer) fetch(ctx context.Context, epoch int, indices []int, seen *recent) (microBatches, error) {
	var micros microBatches
	for part := range slices.Chunk(indices, t.cfg.MicroBatchSize) {
		b, err := t.fetchMicro(ctx, epoch, part, seen)
		if err != nil {
			micros.free()
			return nil, err
		}
		micros = append(micros, b)
	}
	return micros, nil
}

// next waits for the next step's batch.
func (p *prefetcher) next(ctx context.Context) (microBatches, error) {
	select {
	case f, ok := <-p.out:
		if !ok {
			return nil, fault.New(fault.Canceled, "no batch: the run was cancelled")
		}
		return f.micros, f.err
	case <-ctx.Done():
		return nil, fault.New(fault.Canceled, "waiting for a batch: %w", context.Cause(ctx))
	}
}

// close ends fetching and frees what was fetched in vain.
func (p *prefetcher) close(cancel context.CancelFunc) {
	cancel()
	for f := range p.out {
		f.micros.free()
	}
}
