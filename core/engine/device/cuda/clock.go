//go:build clipcuda

package cuda

import (
	"time"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

var _ device.Timer = (*Backend)(nil)

// Time measures runs by events of the stream (device.Timer).
func (b *Backend) Time(n int, run func()) (took []time.Duration, err error) {
	if b.recording {
		return nil, fault.New(fault.Conflict, "cannot time work while it is recorded")
	}
	events := make([]*driver.Event, 0, n+1)
	defer func() {
		for _, e := range events {
			err = firstOf(err, e.Destroy())
		}
	}()
	for range n + 1 {
		e, err := b.ctx.NewEvent(true)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	for i, e := range events {
		if i > 0 {
			run()
		}
		if b.noteError(e.Record(b.stream)) {
			return nil, b.err
		}
	}
	if err := b.Wait(); err != nil {
		return nil, err
	}
	for i := range n {
		d, err := events[i+1].Since(events[i])
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	return took, nil
}
