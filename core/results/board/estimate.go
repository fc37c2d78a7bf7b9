package board

import (
	"slices"
	"time"

	"tandem/core/results"
	"tandem/core/results/store"
)

// settled is the part of its steps after which the pace of a run is that of its clock, evaluations and start included, not that of
// its steps alone.
const settled = 0.1

// remaining estimates how long a running run will take; negative where that is not known.
func remaining(p store.Progress, now time.Time) time.Duration {
	if p.Steps <= 0 || p.Step <= 0 {
		return -1
	}
	pace := p.StepTime
	if p.Prior == 0 && float64(p.Step) >= settled*float64(p.Steps) { // of a resumed run it is not recorded which steps are this process's
		pace = p.Beat.Sub(p.Session) / time.Duration(p.Step)
	}
	if pace <= 0 {
		return -1
	}
	left := time.Duration(max(0, p.Steps-p.Step))*pace - max(0, now.Sub(p.Beat))
	return max(0, left)
}

// estimate sets Remaining: running cells take what they take, and as many others at a time as run now follow them, each for the mean
// time of those that are done. Failed, stopped and tainted cells are over.
func (b *Board) estimate() {
	b.Remaining = -1
	var workers []time.Duration // when each is free
	var took, mean time.Duration
	var done, ahead, unknown int
	for _, r := range b.Rows {
		for _, c := range r.Cells {
			switch c.State {
			case Done:
				took += c.Took
				done++
			case Waiting, Interrupted:
				ahead++
			case Running:
				if c.Silent {
					continue
				}
				if c.Remaining < 0 {
					unknown++
				} else {
					workers = append(workers, c.Remaining)
				}
			}
		}
	}
	if done > 0 {
		mean = took / time.Duration(done)
	} else {
		mean = b.expected()
	}
	if mean > 0 {
		for range unknown {
			workers = append(workers, mean)
		}
		unknown = 0
	}
	for _, p := range b.Phases {
		if p.Expected == 0 && p.Name == results.Searched {
			return // time ends it, or it has not begun
		}
		ahead += max(0, p.Expected-p.Cells)
	}
	if len(workers) == 0 || unknown > 0 || ahead > 0 && mean <= 0 {
		return
	}
	for range ahead {
		slices.Sort(workers)
		workers[0] += mean
	}
	b.Remaining = slices.Max(workers)
}

// expected returns how long a run takes by what is known of those that run; 0: nothing is.
func (b *Board) expected() time.Duration {
	var sum time.Duration
	n := 0
	for _, r := range b.Rows {
		for _, c := range r.Cells {
			if c.State == Running && c.Remaining >= 0 {
				sum += c.Took + c.Remaining
				n++
			}
		}
	}
	if n == 0 {
		return 0
	}
	return sum / time.Duration(n)
}
