package train

import (
	"context"
	"slices"

	"tandem/core/experiment/mixture"
	"tandem/core/fault"
)

// microBatches holds the parts of one step's batch.
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
type prefetcher struct {
	out   chan fetched
	ahead *fetched // that peek took; nil: none
}

// prefetch starts fetching from a step on, counted from 0.
func (t *Trainer) prefetch(ctx context.Context, step int) *prefetcher {
	waiting := t.cfg.Prefetch - 1
	if t.parts.Ahead {
		waiting = max(0, waiting-1) // peek holds one
	}
	p := &prefetcher{out: make(chan fetched, waiting)}
	go func() {
		defer close(p.out)
		seen := &recent{keep: t.cfg.Prefetch + 2} // beside those ahead, one in hand and one that computes
		for ; step < t.cfg.Steps; step++ {
			picks := t.plan.Step(step)
			seen.next()
			micros, err := t.fetch(ctx, step, picks, seen)
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

func (t *Trainer) fetch(ctx context.Context, step int, picks []mixture.Pick, seen *recent) (micros microBatches, err error) {
	defer fault.Catch(&err)
	for part := range slices.Chunk(picks, t.cfg.MicroBatchSize) {
		if !t.ranks.has(len(micros)) {
			micros = append(micros, newElsewhere(part))
			continue
		}
		b, err := t.fetchMicro(ctx, part, seen)
		if err != nil {
			micros.free()
			return nil, err
		}
		micros = append(micros, b)
	}
	if t.ranks.many() {
		return micros, nil // what others cannot read is not known yet
	}
	if err := t.replaceUnreadable(ctx, step, micros); err != nil {
		micros.free()
		return nil, err
	}
	return micros, nil
}

// next waits for the next step's batch, or for a stop.
func (p *prefetcher) next(ctx context.Context, stop <-chan struct{}) (microBatches, error) {
	select {
	case <-stop:
		return nil, errStopped
	default:
	}
	if f := p.ahead; f != nil {
		p.ahead = nil
		return f.micros, f.err
	}
	select {
	case f, ok := <-p.out:
		if !ok {
			return nil, fault.New(fault.Canceled, "no batch: the run was cancelled")
		}
		return f.micros, f.err
	case <-stop:
		return nil, errStopped
	case <-ctx.Done():
		return nil, fault.New(fault.Canceled, "waiting for a batch: %w", context.Cause(ctx))
	}
}

// peek returns the next step's batch if it is there already, else nil. The batch stays the prefetcher's.
func (p *prefetcher) peek() microBatches {
	if p.ahead == nil {
		select {
		case f, ok := <-p.out:
			if ok {
				p.ahead = &f
			}
		default:
		}
	}
	if p.ahead == nil {
		return nil
	}
	return p.ahead.micros
}

// close ends fetching and frees what nobody took.
func (p *prefetcher) close(cancel context.CancelFunc) {
	cancel()
	if p.ahead != nil {
		p.ahead.micros.free()
	}
	for f := range p.out {
		f.micros.free()
	}
}
