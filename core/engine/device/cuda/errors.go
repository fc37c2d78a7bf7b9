//go:build clipcuda

package cuda

import "tandem/core/fault"

// Err is the first error of the work so far; it waits for nothing. After one, the backend does nothing any
// more: the driver gives a context up when a kernel faults.
func (b *Backend) Err() error { return b.err }

// failed notes an error of the work, or of the recording when one is made; it says whether there is one.
func (b *Backend) failed(err error) bool {
	switch {
	case err == nil:
		return false
	case b.recording:
		if b.refused == nil {
			b.refused = err
		}
	case b.err == nil:
		b.err = err
	}
	return true
}

// waited is failed after a wait for an event, of which the stream knows the last launches.
func (b *Backend) waited(err error) bool {
	if err != nil {
		b.failed(b.stream.Synchronize())
	}
	return b.failed(err)
}

// idle says that nothing is to be done any more.
func (b *Backend) idle() bool { return b.err != nil || b.recording && b.refused != nil }

// Wait waits for all work and is Err then.
func (b *Backend) Wait() error {
	b.sync()
	return b.err
}

// sync waits for all work.
func (b *Backend) sync() {
	if b.idle() || b.stream == nil {
		return
	}
	if b.recording {
		b.failed(fault.New(fault.Unavailable, "cannot wait while work is recorded"))
		return
	}
	if !b.failed(b.stream.Synchronize()) {
		b.failed(b.prefetch.wait())
	}
}
