// Package board tells how an experiment stands: its cells, variants by seeds, with what is known of the run of each. The live page and the
// terminal's board show it.
package board

import (
	"context"
	"slices"
	"strings"
	"time"

	"tandem/core/clip"
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

// States lists the states in the order in which boards count them.
var States = []State{Done, Running, Waiting, Stopped, Interrupted, Failed, Tainted}

// SilentAfter is how long a run may give no sign of life, which it does every 20 s, before it counts as silent.
const SilentAfter = 2 * time.Minute

// Cell is a variant under a seed.
type Cell struct {
	Seed      int64
	State     State
	Run       string        // its id; "": none
	Note      string        // why it failed, was stopped or is tainted; one line
	Step      int64         // the last that was recorded; 0: none
	Steps     int64         // it will make; 0: not known
	Took      time.Duration // so far
	Remaining time.Duration // of a running cell, estimated; negative: not known
	Value     *store.Number // of the deciding metric; nil: none
	Updated   time.Time     // the last sign of life of its run
	Silent    bool          // it is recorded as running, and gave no sign of life for long
	Host      string        // where its run is or was made
}

// Row holds the cells of a variant.
type Row struct {
	Variant  string
	Baseline bool
	Phase    string // of a search: results.Searched or results.Confirming; a variant of both has two rows
	Cells    []Cell // by seed, in the order of Board.Seeds; the state is "" where the experiment has no such cell
}

// Board is how an experiment stands.
type Board struct {
	store.Experiment
	Seeds     []int64
	Rows      []Row
	Counts    map[State]int
	Phases    []Phase       // of a search; nil: another design
	Cells     int           // planned; run where none is planned
	Unplanned int           // that were run and are not planned any more: they have no row
	Missing   int           // cells that have no value yet
	Remaining time.Duration // until all cells are done at the pace of the runs that are made, estimated; negative: not known
	At        time.Time     // when it was read
}

// Phase is a part of a search.
type Phase struct {
	Name     string // results.Searched or results.Confirming
	Points   int    // that are planned so far: rows
	Of       int    // that are tried at most, or confirmed; 0: time ends it
	Done     int    // cells
	Cells    int    // planned so far
	Expected int    // cells, with those that are not planned yet; 0: not known
}

// Source gives what was recorded; a store.Reader does.
type Source interface {
	Experiment(ctx context.Context, name string) (*store.Experiment, error)
	CellsProgress(ctx context.Context, experiment string) ([]store.CellProgress, error)
	Running(ctx context.Context) ([]store.RunProgress, error)
}

var _ Source = (*store.Reader)(nil)

// Read reads the board of an experiment. Errors: fault.NotFound when there is no such experiment.
func Read(ctx context.Context, src Source, experiment string) (*Board, error) {
	e, err := src.Experiment(ctx, experiment)
	if err != nil {
		return nil, err
	}
	cells, err := src.CellsProgress(ctx, experiment)
	if err != nil {
		return nil, err
	}
	b := &Board{Experiment: *e, Counts: map[State]int{}, At: time.Now()}
	if slices.ContainsFunc(cells, func(c store.CellProgress) bool { return c.Planned }) {
		all := len(cells)
		cells = slices.DeleteFunc(cells, func(c store.CellProgress) bool { return !c.Planned })
		b.Unplanned = all - len(cells)
	}
	b.lay(cells)
	b.addPhases()
	b.estimate()
	return b, nil
}

// lay puts cells, which come in the order of the design, into rows.
func (b *Board) lay(cells []store.CellProgress) {
	for _, c := range cells {
		b.Seeds = append(b.Seeds, c.Seed)
	}
	slices.Sort(b.Seeds)
	b.Seeds = slices.Compact(b.Seeds)
	type key struct{ variant, phase string }
	rows := map[key]int{}
	for _, c := range cells {
		k := key{c.Variant, c.Phase}
		i, known := rows[k]
		if !known {
			i = len(b.Rows)
			rows[k] = i
			b.Rows = append(b.Rows, Row{Variant: c.Variant, Baseline: c.Variant == b.Baseline && b.Baseline != "", Phase: c.Phase, Cells: make([]Cell, len(b.Seeds))})
		}
		column, _ := slices.BinarySearch(b.Seeds, c.Seed)
		cell := newCell(c, b.At)
		b.Rows[i].Cells[column] = cell
		b.Counts[cell.State]++
		b.Cells++
		if cell.State != Done || cell.Value == nil {
			b.Missing++
		}
	}
}

func newCell(c store.CellProgress, now time.Time) Cell {
	x := Cell{Seed: c.Seed, State: Waiting, Run: c.RunID, Remaining: -1}
	if c.RunID == "" {
		return x
	}
	x.progress(c.Progress)
	switch s := clip.Status(c.Status); {
	case c.Done:
		x.State = Done
	case s == clip.StatusDone:
		x.State, x.Note = Tainted, FirstLine(c.Note)
	case s == clip.StatusRunning:
		x.State = Running
		x.follow(c.Progress, now)
	default: // the words are the same
		x.State, x.Note = State(s), FirstLine(c.Note)
	}
	return x
}

func (x *Cell) progress(p store.Progress) {
	x.Step, x.Steps, x.Took, x.Value, x.Updated, x.Host = p.Step, p.Steps, p.Took(), p.Value, p.Beat, p.Host
}

// follow adds what is known of a run that is made.
func (x *Cell) follow(p store.Progress, now time.Time) {
	x.Silent = now.Sub(p.Beat) > SilentAfter
	x.Remaining = remaining(p, now)
}

// FirstLine returns the first line of a text that has some.
func FirstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// Run is a run that is being made, whatever its experiment.
type Run struct {
	Experiment, Metric, Variant string
	Cell
}

// Now returns the runs that are being made, newest first.
func Now(ctx context.Context, src Source) ([]Run, error) {
	all, err := src.Running(ctx)
	now := time.Now()
	runs := make([]Run, len(all))
	for i, p := range all {
		runs[i] = Run{p.Experiment, p.Metric, p.Variant, Cell{Seed: p.Seed, State: Running, Run: p.ID}}
		runs[i].progress(p.Progress)
		runs[i].follow(p.Progress, now)
	}
	return runs, err
}
