package clip

import "context"

// Status names the state of a run.
type Status string

// The states of a run. Only a run in StatusRunning belongs to a process that is alive.
const (
	StatusRunning     Status = "running"
	StatusDone        Status = "done"
	StatusFailed      Status = "failed"
	StatusInterrupted Status = "interrupted"
	StatusStopped     Status = "stopped" // a rule of its sweep ended it early
)

// Metric holds one named value of a step. NaN and infinities are allowed and survive storage.
type Metric struct {
	Name  string // a path: train/loss, eval/emoji/top1
	Value float64
}

// Prediction holds the classification of one sample.
type Prediction struct {
	Key   string  // as in Batch.Keys
	Label int32   // the true class
	Top   []int32 // the classes with the highest scores, highest first; at most 5
	Score float32 // cosine similarity with the first class of Top
}

// Recorder records what a run produces. Implementations queue, so that they never block a training step
// for long. A write that fails is reported by a later call, at the latest by Flush.
type Recorder interface {
	// Metrics records values at a step. Steps count completed optimiser steps, from 0.
	Metrics(step int, values []Metric) error
	// Predictions records the outcome of an evaluation at a step, sample by sample.
	Predictions(step int, evaluation, target string, p []Prediction) error
	// Event records something that people should know. level is info, warning or error; kind is a short
	// name to filter by; detail may be long.
	Event(level, kind, message, detail string) error
	// Checkpoint records that dir holds a state of a step that the run can be resumed from.
	Checkpoint(step int, dir string) error
	// Flush returns once everything recorded so far is durable.
	Flush(ctx context.Context) error
}
