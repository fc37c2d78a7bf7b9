//go:build clipcuda

package cuda

import "tandem/core/fault"

// Err returns the first error of the work so far; it waits for nothing. After an error the backend does nothing any
// more: the driver gives a context up when a kernel faults.
func (b *Backend) Err() error { return b.err }

// noteError notes an error of the work, or of the recording while one is made. It reports whether err is an error.
func (b *Backend) noteError(err error) bool {
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

// noteWaitError does what noteError does after a wait for an event. It asks the stream first, whose error names the last
// launches.
func (b *Backend) noteWaitError(err error) bool {
	if err != nil {
		b.noteError(b.stream.Synchronize())
	}
	return b.noteError(err)
}

// idle reports whether nothing is to be done any more.
func (b *Backend) idle() bool { return b.err != nil || b.recording && b.refused != nil }

// Wait waits for all work and returns Err.
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
		b.noteError(fault.New(fault.Unavailable, "cannot wait while work is recorded"))
		return
	}
	if !b.noteError(b.stream.Synchronize()) {
		b.noteError(b.prefetch.wait())
	}
}
