package tower

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/fault"
)

var _ clip.Exchanger = (*encoder)(nil)

// Exchange implements clip.Exchanger. Without it EncoderConfig.SyncNorm changes nothing: one rank's batch is the whole. Without
// SyncNorm ranks normalise batches of their own, and exchange running statistics alone.
func (e *encoder) Exchange(ctx context.Context, sum func(context.Context, []float64) error) error {
	if err := e.ready(ctx, "exchange"); err != nil {
		return err
	}
	if e.sum != nil {
		return fault.New(fault.Conflict, "the encoder exchanges already").WithOp("exchange")
	}
	e.sum = sum
	return nil
}

// sumOverRanks adds values up over all ranks within the call under way; alone it has nothing to add. Its errors are never fault.Exhausted, upon which a pass
// would be done again, by this rank alone.
func (e *encoder) sumOverRanks(values []float64) error {
	if e.sum == nil {
		return nil
	}
	err := e.sum(e.under, values)
	if fault.KindOf(err) == fault.Exhausted {
		return fault.New(fault.Unavailable, "%w", err).WithOp("exchange")
	}
	return err
}

// shareStatistics sets the running statistics to the mean over all ranks. They are linear in the batches', so that they move by
// the mean of what the ranks' batches would move them by, and are the same on every rank.
func (e *encoder) shareStatistics() error {
	states := e.params.states
	if e.sum == nil || e.syncNorm || len(states.Layout.Entries) == 0 {
		return nil // there is nothing to share, or it is the same everywhere
	}
	b, n := e.session.Backend, states.Values.Len()
	values := make([]float64, n+1)
	if err := device.ReadDoubles(b, values[:n], states.Values); err != nil {
		return err
	}
	values[n] = 1
	if err := e.sumOverRanks(values); err != nil {
		return err
	}
	for i := range n {
		values[i] /= values[n]
	}
	device.WriteDoubles(b, states.Values, values[:n])
	return device.Err(b)
}

// joinRanks makes the device rank of a group whose members add gradients up among themselves; nil is none.
func (e *encoder) joinRanks(b device.Backend, c *clip.Communicator) error {
	if c == nil {
		return nil
	}
	group, ok := b.(device.Communicator)
	if !ok {
		return fault.New(fault.Invalid, "%s adds up no gradients by itself", b.Name()).WithPath("compute.communicator").
			WithHint("NCCL is for GPUs")
	}
	e.group = group
	return group.JoinRanks(c.ID, c.Rank, c.Size)
}
