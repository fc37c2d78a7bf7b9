package run

import (
	"sync"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/train"
)

// Watcher sees a run as it goes. Its methods are called one at a time, from any goroutine.
type Watcher interface {
	assemble.Watcher
	// Began is called once, when the plugins are configured and the run is recorded.
	Began(assemble.Summary)
	// Step is called after every training step.
	Step(train.StepReport)
	// Evaluated is called after every evaluation.
	Evaluated(step int, name string, values []clip.Metric)
	// Checkpointed is called after every checkpoint.
	Checkpointed(step int, dir string)
}

// serial passes on to a Watcher one call at a time.
type serial struct {
	mu sync.Mutex
	w  Watcher
}

func (s *serial) do(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

func (s *serial) Doing(what string)        { s.do(func() { s.w.Doing(what) }) }
func (s *serial) Began(b assemble.Summary) { s.do(func() { s.w.Began(b) }) }
func (s *serial) Step(r train.StepReport)  { s.do(func() { s.w.Step(r) }) }
func (s *serial) Evaluated(step int, name string, v []clip.Metric) {
	s.do(func() { s.w.Evaluated(step, name, v) })
}
func (s *serial) Checkpointed(step int, dir string) { s.do(func() { s.w.Checkpointed(step, dir) }) }
func (s *serial) Event(level, message string)       { s.do(func() { s.w.Event(level, message) }) }

// onBegin passes on to a Watcher, and calls say once the run has begun.
type onBegin struct {
	Watcher
	say func()
}

func (o onBegin) Began(b assemble.Summary) { o.Watcher.Began(b); o.say() }

// Quiet implements Watcher and looks away.
type Quiet struct{}

// Doing implements Watcher.
func (Quiet) Doing(string) {}

// Began implements Watcher.
func (Quiet) Began(assemble.Summary) {}

// Step implements Watcher.
func (Quiet) Step(train.StepReport) {}

// Evaluated implements Watcher.
func (Quiet) Evaluated(int, string, []clip.Metric) {}

// Checkpointed implements Watcher.
func (Quiet) Checkpointed(int, string) {}

// Event implements Watcher.
func (Quiet) Event(string, string) {}

var _ Watcher = Quiet{}
