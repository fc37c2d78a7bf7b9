package tower

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
)

var _ clip.Exchanger = (*encoder)(nil)

// Exchange implements clip.Exchanger. Without it EncoderConfig.SyncNorm changes nothing: one rank's batch is the whole.
func (e *encoder) Exchange(ctx context.Context, sum func(context.Context, []float64) error) error {
	if err := e.ready(ctx, "exchange"); err != nil {
		return err
	}
	if !e.syncNorm || e.sum != nil {
		return fault.New(fault.Conflict, "the encoder was configured without sync_norm, or exchanges already").WithOp("exchange")
	}
	e.sum = sum
	return nil
}

// sumOverRanks adds values up over all ranks within the call under way. Its errors are never fault.Exhausted, upon which a pass
// would be done again, by this rank alone.
func (e *encoder) sumOverRanks(values []float64) error {
	err := e.sum(e.under, values)
	if fault.KindOf(err) == fault.Exhausted {
		return fault.New(fault.Unavailable, "%w", err).WithOp("exchange")
	}
	return err
}
