package run

import (
	"tandem/core/clip"
	"tandem/core/results/store"
)

// teller records a run, and tells its Watcher of every event, so that nothing is recorded that nobody sees.
type teller struct {
	*store.Run
	w Watcher
}

var _ clip.Recorder = (*teller)(nil)

// Event implements clip.Recorder.
func (t *teller) Event(level, kind, message, detail string) error {
	t.w.Event(level, message)
	return t.Run.Event(level, kind, message, detail)
}
