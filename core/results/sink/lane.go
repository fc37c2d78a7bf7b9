package sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

const (
	// queueLimit bounds the values that wait for one tracker: about 10 MB.
	queueLimit = 1 << 18
	// batchLimit bounds the values of one Write, unless one step has more.
	batchLimit = 8 << 10
	// gatherDelay limits how long points wait for others to be written with.
	gatherDelay = time.Second
	// Between attempts of a tracker that fails; doubled from the one to the other.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// lane feeds one tracker.
type lane struct {
	Named
	r    Run
	tell func(level, message string)

	mu      sync.Mutex
	queue   []Points
	waiting int  // values in queue, and in the batch being written
	behind  bool // values were left out of queue, to be read from the record later
	given   int  // values, all
	done    int  // values that the tracker has, of those given
	refused int  // values that it will never take
	wake    chan struct{}
	over    chan struct{} // closed by end
	ending  context.Context
	how     End

	// Owned by run.
	newest    func(metric string) int // of the tracker, when it was opened
	steps     map[string]int          // the newest that it has of each metric, where that is known
	failed    bool                    // it was told
	away      bool                    // an attempt failed
	recovered bool                    // it was told
	delay     time.Duration
	last      error // of the newest attempt that failed
}

func newLane(t Named, r Run, tell func(level, message string)) *lane {
	return &lane{Named: t, r: r, tell: tell, wake: make(chan struct{}, 1), over: make(chan struct{}), delay: firstRetry, steps: map[string]int{}}
}

// push queues points, or leaves them to the record when there is no room.
func (l *lane) push(p Points) {
	n := len(p.Values)
	l.mu.Lock()
	l.given += n
	if l.behind = l.behind || l.waiting+n > queueLimit; !l.behind {
		l.waiting += n
		l.queue = append(l.queue, p)
	}
	enough := l.waiting >= batchLimit && !l.behind
	l.mu.Unlock()
	if enough {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// end says that no more points come.
func (l *lane) end(ctx context.Context, how End) {
	l.ending, l.how = ctx, how
	close(l.over)
}

// run writes until the end.
func (l *lane) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // after the end, nothing lasts longer than the patience with it
		select {
		case <-l.over:
			<-l.ending.Done()
			cancel()
		case <-ctx.Done():
		}
	}()
	ended := l.write(ctx)
	if err := l.Tracker.Close(); err != nil && ended == nil {
		ended = err
	}
	l.account(ended)
}

// write opens the tracker, writes what comes and tells it of the end. It returns nil when the tracker knows of the end, and else why not.
func (l *lane) write(ctx context.Context) error {
	if !l.try(ctx, 0, func() (err error) { l.newest, err = l.Tracker.Open(ctx, l.r); return err }) {
		return l.last
	}
	if l.r.From >= 0 && !l.catchUp(ctx) { // the process before may have been killed before the tracker had all
		return l.last
	}
	for {
		over := l.gather()
		for more := true; more; more = l.missed() {
			if !l.drain(ctx) {
				return l.last
			}
			if l.clearBehind() && !l.catchUp(ctx) {
				return l.last
			}
		}
		if over {
			if !l.try(ctx, 0, func() error { return l.Tracker.End(ctx, l.how) }) {
				return l.last
			}
			return nil
		}
	}
}

// gather waits until points should be written, and reports whether these are the last.
func (l *lane) gather() (over bool) {
	timer := time.NewTimer(gatherDelay)
	defer timer.Stop()
	select {
	case <-l.over:
	case <-l.wake:
	case <-timer.C:
	}
	return l.isOver()
}

func (l *lane) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// drain writes what is queued.
func (l *lane) drain(ctx context.Context) bool {
	for {
		batch, n := l.next()
		if len(batch) == 0 {
			return true
		}
		if !l.put(ctx, batch) {
			return false
		}
		l.mu.Lock()
		l.waiting -= n
		l.mu.Unlock()
	}
}

// next takes the points of one batch off the queue and counts their values. They still take room.
func (l *lane) next() (batch []Points, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := 0
	for i < len(l.queue) && (i == 0 || n+len(l.queue[i].Values) <= batchLimit) {
		n += len(l.queue[i].Values)
		i++
	}
	batch, l.queue = l.queue[:i:i], l.queue[i:]
	if len(l.queue) == 0 {
		l.queue = nil // what was written is not held
	}
	return batch, n
}

// missed reports whether points were left out of the queue, or are in it with those left out between.
func (l *lane) missed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.behind
}

// clearBehind has points queued again, and reports whether the record has some that were not.
func (l *lane) clearBehind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.behind
	l.behind = false
	return was
}

// put writes the values that the tracker does not have yet.
func (l *lane) put(ctx context.Context, batch []Points) bool {
	n, own := 0, 0
	var kept []Points
	for _, p := range batch {
		values := p.Values
		for i, v := range p.Values {
			if p.Step > l.newestOf(v.Name) {
				continue
			}
			values = append([]clip.Metric(nil), p.Values[:i]...)
			for _, v := range p.Values[i:] {
				if p.Step > l.newestOf(v.Name) {
					values = append(values, v)
				}
			}
			break
		}
		if len(values) == 0 {
			continue
		}
		n += len(values)
		if p.Step > l.r.From {
			own += len(values)
		}
		kept = append(kept, Points{At: p.At, Step: p.Step, Values: values})
	}
	if n == 0 {
		return true
	}
	refused := false
	if !l.try(ctx, n, func() error {
		err := l.Tracker.Write(ctx, kept)
		if refused = fault.KindOf(err) == fault.Invalid; refused {
			l.last = err
			l.warn(fmt.Sprintf("%s refuses values, which are left out: %v", l.Name, err))
			return nil // the rest may be taken
		}
		return err
	}) {
		return false
	}
	for _, p := range kept {
		for _, v := range p.Values {
			l.steps[v.Name] = p.Step
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if refused {
		l.refused += own
	} else {
		l.done += own
	}
	return true
}

// newestOf returns the newest step that the tracker has of a metric.
func (l *lane) newestOf(metric string) int {
	step, known := l.steps[metric]
	if !known {
		step = l.newest(metric)
		l.steps[metric] = step
	}
	return step
}

// try calls do, which writes n values, until it succeeds; false: patience ended before, or the tracker refuses the run.
func (l *lane) try(ctx context.Context, n int, do func() error) bool {
	for {
		err := fault.Safely(do)()
		switch {
		case err == nil:
			l.delay = firstRetry
			if n > 0 && l.away && !l.recovered {
				l.recovered = true
				l.tell("info", l.Name+" takes points again")
			}
			return true
		case fault.KindOf(err) == fault.Invalid:
			l.last = err
			l.warn(fmt.Sprintf("%s cannot be written: %v; the run goes on without it", l.Name, err))
			<-l.over
			return false
		case ctx.Err() != nil:
			if l.last == nil {
				l.last = errors.New("it does not answer")
			}
			return false
		}
		l.last, l.away = err, true
		l.warn(fmt.Sprintf("%s cannot be written: %v; the run goes on, and it is tried again", l.Name, err))
		timer := time.NewTimer(l.delay)
		l.delay = min(2*l.delay, lastRetry)
		over := l.over
		if l.isOver() {
			over = nil
		}
		select {
		case <-timer.C:
		case <-over: // at once, and then as often as patience allows
			l.delay = firstRetry
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// warn tells once that the tracker fails.
func (l *lane) warn(message string) {
	if !l.failed {
		l.failed = true
		l.tell("warning", message)
	}
}

// account tells what the tracker did not get. Ended is why it does not know of the end; nil: it does.
func (l *lane) account(ended error) {
	l.mu.Lock()
	given := l.given
	missing := given - l.done
	l.mu.Unlock()
	if ended == nil {
		missing = l.refused // a value that was recorded twice is given twice and written once
	}
	why := ended
	if why == nil {
		why = l.last
	}
	because := ""
	var e *fault.Error
	switch {
	case errors.As(why, &e) && e.Hint != "":
		because = fmt.Sprintf(": %v; %s", why, e.Hint)
	case why != nil:
		because = fmt.Sprintf(": %v", why)
	}
	switch {
	case missing > 0:
		l.tell("warning", fmt.Sprintf("%s has %s of %s values of the run; the database has all%s", l.Name, count(given-missing), count(given), because))
	case ended != nil:
		l.tell("warning", fmt.Sprintf("%s was not told that the run ended%s", l.Name, because))
	}
}

// count writes a number with separators of thousands.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
