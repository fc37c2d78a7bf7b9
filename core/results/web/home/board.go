package home

import (
	"context"
	"slices"
	"time"

	"tandem/core/results"
	"tandem/core/results/board"
	"tandem/core/results/store"
)

// boardPage is what the board shows.
type boardPage struct {
	*board.Board
	Path    string
	Parts   []part
	Stays   []stay
	More    int             // cells that are not among Stays
	Planned bool            // a sweep planned the cells
	Runs    []store.RunInfo // the newest, where no sweep planned the cells
}

// part is a grid: the whole board, or a phase of a search.
type part struct {
	Title string
	Seeds []int64
	Rows  []board.Row
	Phase *board.Phase // nil: no search
}

// stay is a cell that has no value and does not get one by itself.
type stay struct {
	Variant string
	board.Cell
}

// mostStays limits how many cells are listed one by one.
const mostStays = 50

func boardOf(ctx context.Context, r *store.Reader, name string) (*boardPage, error) {
	b, err := board.Read(ctx, r, name)
	if err != nil {
		return nil, err
	}
	p := &boardPage{Board: b, Path: r.Path(), Planned: b.Design != ""}
	p.split()
	for _, row := range b.Rows {
		for _, c := range row.Cells {
			switch c.State {
			case board.Failed, board.Interrupted, board.Stopped, board.Tainted:
				p.Stays = append(p.Stays, stay{row.Variant, c})
			case board.Running:
				if c.Silent {
					p.Stays = append(p.Stays, stay{row.Variant, c})
				}
			}
		}
	}
	slices.SortStableFunc(p.Stays, func(x, y stay) int { return urgency(x.State) - urgency(y.State) })
	if len(p.Stays) > mostStays {
		p.Stays, p.More = p.Stays[:mostStays], len(p.Stays)-mostStays
	}
	if !p.Planned {
		p.Runs, err = r.Runs(ctx, store.Filter{Experiment: name, Limit: mostRuns})
	}
	return p, err
}

// urgency orders states: what somebody should look at comes first.
func urgency(s board.State) int {
	return slices.Index([]board.State{board.Failed, board.Running, board.Interrupted, board.Tainted, board.Stopped}, s)
}

// split makes the parts: one for each phase of a search, with the seeds that it has.
func (p *boardPage) split() {
	if len(p.Phases) == 0 {
		p.Parts = []part{{Seeds: p.Seeds, Rows: p.Board.Rows}}
		return
	}
	for i := range p.Phases {
		x := part{Title: "Points that were tried", Phase: &p.Phases[i]}
		if x.Phase.Name == results.Confirming {
			x.Title = "Confirmed under fresh seeds"
		}
		var used []int
		for column := range p.Seeds {
			if slices.ContainsFunc(p.Board.Rows, func(r board.Row) bool { return inPhase(r, x.Phase) && r.Cells[column].State != "" }) {
				used = append(used, column)
				x.Seeds = append(x.Seeds, p.Seeds[column])
			}
		}
		for _, r := range p.Board.Rows {
			if !inPhase(r, x.Phase) {
				continue
			}
			cells := make([]board.Cell, len(used))
			for i, column := range used {
				cells[i] = r.Cells[column]
			}
			r.Cells = cells
			x.Rows = append(x.Rows, r)
		}
		p.Parts = append(p.Parts, x)
	}
}

func inPhase(r board.Row, p *board.Phase) bool {
	return (r.Phase == results.Confirming) == (p.Name == results.Confirming)
}

// Segments are the counts of the states that cells have, in order.
func (p *boardPage) Segments() (all []segment) {
	from := 0
	for _, s := range board.States {
		if n := p.Counts[s]; n > 0 {
			all = append(all, segment{s, n, from})
			from += n
		}
	}
	return all
}

// Key are the counts of the states that every sweep knows, then those that some cells have. Their places stay while cells change.
func (p *boardPage) Key() (all []segment) {
	usual := []board.State{board.Done, board.Running, board.Waiting, board.Failed}
	for _, s := range usual {
		all = append(all, segment{State: s, N: p.Counts[s]})
	}
	for _, s := range p.Segments() {
		if !slices.Contains(usual, s.State) {
			all = append(all, s)
		}
	}
	return all
}

// Finished is how many cells are done.
func (p *boardPage) Finished() int { return p.Counts[board.Done] }

type segment struct {
	State board.State
	N     int
	From  int // how many cells come before
}

// ago returns how long something was ago, in seconds.
func ago(t, now time.Time) float64 { return max(0, now.Sub(t).Seconds()) }
