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

// Event implements clip.Recorder.
func (r *Recorder) Event(level, kind, message, detail string) error {
	r.Watcher.Event(level, message)
	return r.Run.Event(level, kind, message, detail)
}
