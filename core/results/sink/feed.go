package sink

import (
	"context"
	"sync"
	"time"
)

// Feed gives the points of a run to trackers. Its methods may be called concurrently, End once and last.
type Feed struct {
	lanes []*lane
	done  sync.WaitGroup
	tell  func(level, message string)
}

// grace is how much longer than asked End waits for a tracker that does not even notice that nobody waits.
const grace = 3 * time.Second

// Start begins to feed trackers. Tell is told, from any goroutine, what people should know of it: level is info or warning. Of each
// tracker it is told at most three times: that it failed, that it takes points again, and what it did not get.
func Start(r Run, trackers []Named, tell func(level, message string)) *Feed {
	f := &Feed{tell: tell}
	for _, t := range trackers {
		l := newLane(t, r, tell)
		f.lanes = append(f.lanes, l)
		f.done.Go(l.run)
	}
	return f
}

// Points gives values of a step to every tracker. It never waits and costs well under a microsecond.
func (f *Feed) Points(p Points) {
	for _, l := range f.lanes {
		l.push(p)
	}
}

// End tells every tracker how the run ended, once it has the points, and waits for them all: no longer than patience, and not at all
// once ctx is over.
func (f *Feed) End(ctx context.Context, e End, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, l := range f.lanes {
		l.end(ctx, e)
	}
	done := make(chan struct{})
	go func() { f.done.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(grace):
		f.tell("warning", "a tracker does not answer; what it has of the run is not known")
	}
}
