package clip

import "context"

// Status is the state of a run.
type Status string

// The states of a run. Running is the only one that a live process owns.
const (
	StatusRunning     Status = "running"
	StatusDone        Status = "done"
	StatusFailed      Status = "failed"
	StatusInterrupted Status = "interrupted"
	StatusStopped     Status = "stopped" // ended early by a rule of its sweep
)

// Metric is one named value of a step. NaN and infinities are allowed and survive storage.
type Metric struct {
	Name  string // path: train/loss, eval/emoji/top1
	Value float64
}

// Prediction is the outcome of one example of a classification.
type Prediction struct {
	Key   string  // Batch.Keys
	Label int32   // true class
	Top   []int32 // best classes first, at most 5
	Score float32 // cosine with the best class
}

// Recorder takes what a run produces. Implementations never block a training step for long: they
// queue, and report a failure to write on the next call or on Flush.
type Recorder interface {
	// Metrics records values at a step (completed optimiser steps, from 0).
	Metrics(step int, values []Metric) error
	// Predictions records the per-example outcome of an evaluation at a step.
	Predictions(step int, evaluation, target string, p []Prediction) error
	// Event records something worth telling: level is info, warning or error.
	Event(level, kind, message, detail string) error
	// Checkpoint records that a resumable state of a step lies in dir.
	Checkpoint(step int, dir string) error
	// Flush returns when everything recorded so far is durable.
	Flush(ctx context.Context) error
}
