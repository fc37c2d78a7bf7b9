package assemble

import (
	"tandem/core/clip"
	"tandem/core/results/store"
)

// Watcher hears what is going on while plugins are started and used. Its methods may be called from any
// goroutine.
type Watcher interface {
	// Doing names what takes a while now: "starting plugins", "evaluating emoji"; "" when it is over.
	Doing(what string)
	// Event tells what is worth a line: level is info or warning.
	Event(level, message string)
}

// Recorder records a run and tells its Watcher of every event, so that nothing is recorded that nobody sees.
type Recorder struct {
	*store.Run
	Watcher Watcher
}

var _ clip.Recorder = (*Recorder)(nil)

// Taint marks the run as one that is not to be compared with others, and says so as a warning of a kind. reason is
// a clause, such as "losses/mine was attached by hand"; nothing more is needed to keep the run out of every table.
func (r *Recorder) Taint(kind, reason string) error {
	if err := r.Run.Taint(reason); err != nil {
		return err
	}
	return r.Event("warning", kind, reason+"; the run is tainted: it counts in no table", "")
}

// Event implements clip.Recorder.
func (r *Recorder) Event(level, kind, message, detail string) error {
	r.Watcher.Event(level, message)
	return r.Run.Event(level, kind, message, detail)
}
