package schedule

import "tandem/core/fault"

// NotWhole is the error of a trial whose database or checkpoints are damaged or gone, so that nothing can be gone on from.
type NotWhole struct{ Err error }

// Error implements error.
func (e NotWhole) Error() string { return e.Err.Error() }

// Unwrap returns what is damaged or gone.
func (e NotWhole) Unwrap() error { return e.Err }

// AsNotWhole makes a NotWhole of an error of reading a trial's database or checkpoints, when its kind is fault.Corrupt or
// fault.NotFound. Others stay as they are.
func AsNotWhole(err error) error {
	if k := fault.KindOf(err); k == fault.Corrupt || k == fault.NotFound {
		return NotWhole{err}
	}
	return err
}
