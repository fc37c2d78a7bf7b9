//go:build clipcuda

package driver

import (
	"time"

	"gorgonia.org/cu"
)

// Event marks a point in a stream.
type Event struct {
	c *Context
	e cu.Event
}

// NewEvent makes an event; timing says whether Since will be asked, and costs a little.
func (c *Context) NewEvent(timing bool) (*Event, error) {
	flags := cu.DisableTiming
	if timing {
		flags = cu.DefaultEvent
	}
	e := &Event{c: c}
	err := c.do("cuEventCreate", func() (err error) {
		e.e, err = cu.MakeEvent(flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Destroy ends the event.
func (e *Event) Destroy() error {
	return e.c.do("cuEventDestroy", func() error { return cu.DestroyEvent(&e.e) })
}

// Record marks the end of what the stream has been given so far; an earlier mark is forgotten.
func (e *Event) Record(s *Stream) error {
	return e.c.do("cuEventRecord", func() error { return e.e.Record(s.s) })
}

// Synchronize waits until the mark is passed.
func (e *Event) Synchronize() error { return e.c.do("cuEventSynchronize", e.e.Synchronize) }

// Passed reports whether the mark is passed, without waiting; true when there is none.
func (e *Event) Passed() (bool, error) { return e.c.query("cuEventQuery", e.e.Query) }

// Since returns the device's time from another mark to this one; both must be passed.
func (e *Event) Since(start *Event) (time.Duration, error) {
	var ms float64
	err := e.c.do("cuEventElapsedTime", func() (err error) {
		ms, err = start.e.Elapsed(e.e)
		return err
	})
	return time.Duration(ms * float64(time.Millisecond)), err
}
