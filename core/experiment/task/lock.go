package task

import (
	"context"
	"fmt"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/fault"
)

// What one process at a time does with the bundles of a folder: its place in the ledger.
const (
	merging    = "merge"
	submitting = "submit"
)

// Submitting waits until no other process, on this machine or another, submits a bundle of b's folder. It tells waiting for whom it waits.
// done lets the next one go on.
func Submitting(ctx context.Context, b *bundle.Bundle, o ledger.Owner, waiting func(message string)) (done func(), err error) {
	return lock(ctx, ledger.Ledger{Dir: b.Root()}, submitting, o, waiting)
}

// lock waits until nobody else has a place in the ledger, which is that of all bundles: whatever the leases of one are, the ledger has
// the default expiry.
func lock(ctx context.Context, books ledger.Ledger, place string, o ledger.Owner, waiting func(message string)) (unlock func(), err error) {
	for said := false; ; said = true {
		state, err := books.Read(place)
		if err != nil {
			return nil, err
		}
		lease, err := books.Take(state, o)
		if err != nil {
			return nil, err
		}
		if lease != nil {
			return func() { _ = lease.End(ledger.Outcome{Status: ledger.Interrupted}) }, nil // one that is lost did its work all the same
		}
		if last := state.Last(); !said && waiting != nil && last != nil {
			waiting(fmt.Sprintf("process %d on %s %ss just now: waiting for it, at most %v if it was killed", last.Owner.PID, last.Owner.Host, place, ledger.DefaultExpiry))
		}
		select {
		case <-ctx.Done():
			return nil, fault.New(fault.Canceled, "interrupted during the %s of another process", place)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
