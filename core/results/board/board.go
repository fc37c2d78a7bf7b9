// Package board tells how an experiment stands: its cells, variants by seeds, with what is known of the run of each. The live page and the
// terminal's board show it.
package board

import (
	"context"
	"time"

	"tandem/core/results/store"
)

// State says how a cell stands.
type State string

// The states of a cell.
const (
	Waiting     State = "waiting"     // planned, and no run was made for it
	Running     State = "running"     // a process works on its run
	Done        State = "done"        // its run is done and counts
	Failed      State = "failed"      // Note has the error's first line
	Stopped     State = "stopped"     // early, by the rule of its sweep; Note says why
	Interrupted State = "interrupted" // its run can go on
	Tainted     State = "tainted"     // its run is done and must not be compared; Note says why
)

// Cell is a variant under a seed.
type Cell struct {
	Seed      int64
	State     State
	Run       string        // its id; "": none
	Note      string        // why it failed, was stopped or is tainted; one line
	Step      int64         // of a running cell
	Steps     int64         // it will make; 0: not known
	Remaining time.Duration // of a running cell, estimated; negative: not known
	Value     *store.Number // of the deciding metric; nil: none
	Updated   time.Time     // when something was last recorded of a running cell
}

// Row holds the cells of a variant.
type Row struct {
	Variant  string
	Baseline bool
	Cells    []Cell // by seed, in the order of Board.Seeds; the state is "" where the experiment has no such cell
}

// Board is how an experiment stands.
type Board struct {
	store.Experiment
	Seeds     []int64
	Rows      []Row
	Counts    map[State]int
	Cells     int           // planned or run
	Missing   int           // cells that have no value yet
	Remaining time.Duration // until all cells are done, estimated; negative: not known
	At        time.Time     // when it was read
}

// Source gives what was recorded; a store.Reader does.
type Source interface {
	Experiment(ctx context.Context, name string) (*store.Experiment, error)
}

var _ Source = (*store.Reader)(nil)

// Read reads the board of an experiment. Errors: fault.NotFound when there is no such experiment.
func Read(ctx context.Context, src Source, experiment string) (*Board, error) {
	e, err := src.Experiment(ctx, experiment)
	if err != nil {
		return nil, err
	}
	return &Board{Experiment: *e, Counts: map[State]int{}, Remaining: -1, At: time.Now()}, nil
}
