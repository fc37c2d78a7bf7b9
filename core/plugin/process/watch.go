package process

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"tandem/core/fault"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// Limits bounds how long calls of a plugin may take, by kind; 0 means no limit. When the time is over the
// plugin is ended, and the call returns fault.Exhausted.
type Limits struct {
	Start     time.Duration // until it can be called
	Configure time.Duration // Configure, Captions, CountTokens
	Batch     time.Duration
	Compute   time.Duration // Forward, Backward, Compute, Step, …
	File      time.Duration // Save, Load, Export
	Ask       time.Duration // Describe, Plan, Memory, Profile
}

// DefaultLimits returns limits far above what calls take, which only calls that would never end can reach.
func DefaultLimits() Limits {
	return Limits{Start: time.Minute, Configure: 30 * time.Minute, Batch: 10 * time.Minute, Compute: 30 * time.Minute,
		File: 30 * time.Minute, Ask: time.Minute}
}

// kinds names the limit of each method of the protocol, and of Start.
var kinds = map[string]string{
	"Start":     "start",
	"Configure": "configure", "Captions": "configure", "CountTokens": "configure",
	"Batch":   "batch",
	"Forward": "compute", "Backward": "compute", "Discard": "compute", "Compute": "compute", "GradNorm": "compute", "Step": "compute", "Gradients": "compute", "Close": "compute",
	"Save": "file", "Load": "file", "Export": "file",
	"Describe": "ask", "Plan": "ask", "Memory": "ask", "Profile": "ask", "Settle": "ask", "Exchange": "ask", // Exchange: until the stream is open
}

// ofMethod returns the limit of a method and the name of its kind.
func (l Limits) ofMethod(method string) (kind string, limit time.Duration) {
	switch kind = kinds[method]; kind {
	case "start":
		return kind, l.Start
	case "configure":
		return kind, l.Configure
	case "batch":
		return kind, l.Batch
	case "file":
		return kind, l.File
	case "ask":
		return kind, l.Ask
	}
	return "compute", l.Compute
}

const (
	// watchEvery sets how often calls under way are looked at.
	watchEvery = 500 * time.Millisecond
	// maxDelay bounds how late the watch may look. When it is later, the runner was suspended, and that time does
	// not count against its plugins.
	maxDelay = 10 * watchEvery
	// tellAfter says after what time a call is reported first, and tellEvery how often from then on.
	tellAfter = time.Minute
	tellEvery = 10 * time.Second
	// grace says how long a call may go on after its run was told to stop, when that is far longer than such calls
	// took before.
	grace = 10 * time.Second
	// strayBytes limits the shared memory that plugins may fill where nothing was given out; beyond it one of them
	// is ended. It is far below what a machine has, and far more than anybody writes beyond a slot.
	strayBytes = 1 << 30
)

// Slow reports a call that takes long.
type Slow struct {
	Plugin, Label, Method string
	Age                   time.Duration // while the runner ran
	Limit                 time.Duration // 0: none
	// Tell says that it is worth a lasting line: after a minute, two, four, …
	Tell bool
	// Over says that a call which was told of has ended.
	Over    bool
	Stopped bool // its process is stopped, by SIGSTOP
	// Ended says what became of the plugin, when the watch ended it.
	Ended string
}

// String returns a sentence about the call.
func (s Slow) String() string {
	if s.Ended != "" {
		return fmt.Sprintf("%s (%s): %s", s.Plugin, s.Label, s.Ended)
	}
	text := fmt.Sprintf("waiting for %s (%s), in %s for %s", s.Plugin, s.Label, s.Method, s.Age.Round(time.Second))
	if s.Limit > 0 {
		text += fmt.Sprintf(" of at most %s", s.Limit)
	}
	if s.Stopped {
		text += "; its process is stopped (kill -CONT wakes it)"
	}
	return text
}

// pending describes a call under way.
type pending struct {
	process *Process
	method  string
	path    string // of a Save or Export
	age     time.Duration
	told    time.Duration // age when it was told of last; 0: never
	lasting time.Duration // age at which it is told of in a lasting line
	size    int64         // of path when it was looked at last
	idle    time.Duration // since path grew
	cancel  context.CancelFunc
	verdict *fault.Error // why it was ended
}

// watch observes the calls of a session and ends those that take too long.
type watch struct {
	limits Limits
	arena  *wire.Arena // nil: none
	end    chan struct{}
	ended  sync.WaitGroup

	told chan Slow // to slow, which may take its time: a terminal can be paused

	mu       sync.Mutex
	calls    map[*pending]struct{}
	slow     func(Slow)
	closed   bool
	stopping bool
	since    time.Duration // since stopping
	clearing bool          // a plugin that filled the arena is ending; until its memory is given back nobody else is blamed
}

func newWatch(l Limits, arena *wire.Arena) *watch {
	w := &watch{limits: l, arena: arena, end: make(chan struct{}), calls: map[*pending]struct{}{}, told: make(chan Slow, 64)}
	go func() {
		for s := range w.told {
			w.mu.Lock()
			slow := w.slow
			w.mu.Unlock()
			if slow != nil {
				slow(s)
			}
		}
	}()
	w.ended.Go(func() {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		last := time.Now() // its reading is monotonic: a clock that is set does not count
		for {
			select {
			case <-ticker.C:
				now := time.Now()
				passed := now.Sub(last)
				if last = now; passed > maxDelay {
					passed = watchEvery
				}
				w.pass(passed)
			case <-w.end:
				return
			}
		}
	})
	return w
}

func (w *watch) close() {
	close(w.end)
	w.ended.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.told)
}

// OnSlow sets the function that is told of calls that take longer than a minute, and again every few seconds
// until they end; nil for none.
func (s *Session) OnSlow(f func(Slow)) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.slow = f
}

// Stopping says that the run of this session is to stop. From then on a call that takes ten seconds, and far
// longer than such calls took before, is ended with its plugin and returns fault.Canceled.
func (s *Session) Stopping(on bool) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.stopping, s.watch.since = on, 0
}

// begin records a call; it is a wire.Watch.
func (w *watch) begin(p *Process) wire.Watch {
	return func(ctx context.Context, method string, request any) (context.Context, func(error) error) {
		watched, cancel := context.WithCancel(ctx)
		c := &pending{process: p, method: method, cancel: cancel, lasting: tellAfter}
		if f, ok := request.(interface{ GetPath() string }); ok && (method == "Save" || method == "Export") {
			c.path = p.exchange.savesTo(f.GetPath())
		}
		w.mu.Lock()
		w.calls[c] = struct{}{}
		w.mu.Unlock()
		return watched, func(err error) error {
			defer cancel()
			w.mu.Lock()
			delete(w.calls, c)
			verdict, told := c.verdict, c.told > 0
			if err == nil {
				p.longest.note(method, c.age)
			}
			if told {
				w.tell(Slow{Plugin: p.Name(), Label: p.label, Method: method, Over: true})
			}
			w.mu.Unlock()
			switch {
			case err == nil:
				return nil
			case verdict == nil:
				return p.deniedFault(err)
			}
			return p.watchFault(verdict)
		}
	}
}

// pass adds to the age of the calls, reports those that take long and ends those that take too long.
func (w *watch) pass(passed time.Duration) {
	var doomed []*pending
	w.mu.Lock()
	stray := int64(0)
	if w.arena != nil && !w.clearing {
		stray = w.arena.Stray()
	}
	if w.stopping {
		w.since += passed
	}
	for c := range w.calls {
		c.age += passed
		kind, limit := w.limits.ofMethod(c.method)
		p := c.process
		if p.attached { // its author looks at it in a debugger
			limit = 0
		}
		switch {
		case c.verdict != nil:
		case limit > 0 && c.age > limit:
			c.verdict = fault.New(fault.Exhausted, "%s did not end within %s; the plugin was ended", c.method, limit).WithPlugin(p.Name()).
				WithHint("timeouts.%s of the spec sets the limit; what was saved is gone on with by --resume", kind)
			doomed = append(doomed, c)
		case w.stopping && w.since >= grace && c.age >= grace && c.age > 4*p.longest.ofMethod(c.method) && c.isStuck(passed):
			c.verdict = fault.New(fault.Canceled, "%s had not ended %s after the run was to stop; the plugin was ended, and what came after the last checkpoint is lost",
				c.method, grace).WithPlugin(p.Name())
			doomed = append(doomed, c)
		}
		if c.age >= tellAfter && c.age-c.told >= tellEvery && c.verdict == nil {
			s := Slow{Plugin: p.Name(), Label: p.label, Method: c.method, Age: c.age, Limit: limit, Tell: c.age >= c.lasting, Stopped: p.PID() != 0 && child.IsStopped(p.PID())}
			for c.lasting <= c.age {
				c.lasting *= 2
			}
			c.told = c.age
			w.tell(s)
		}
	}
	if stray > strayBytes {
		if c := w.findScribbler(stray); c != nil {
			doomed = append(doomed, c)
		}
	}
	for _, c := range doomed {
		w.tell(Slow{Plugin: c.process.Name(), Label: c.process.label, Method: c.method, Age: c.age, Tell: true, Ended: c.verdict.Msg})
	}
	w.mu.Unlock()
	for _, c := range doomed {
		c.process.condemn(c.verdict)
		c.cancel()
	}
}

// findScribbler returns the call whose plugin has the most shared memory in its pages, and marks it to be
// ended. It is asked for when somebody fills memory that was never given out: if nobody were ended, the system
// would run out of memory. It returns nil when no call is under way.
func (w *watch) findScribbler(stray int64) (c *pending) {
	most := int64(-1)
	for p := range w.calls {
		if p.process.attached { // without the shared memory
			continue
		}
		if shared := child.MemoryOf(p.process.PID()).Shared; p.verdict == nil && shared > most {
			c, most = p, shared
		}
	}
	if c == nil {
		return nil
	}
	c.verdict = fault.New(fault.Internal, "%s broke a rule of the protocol: it wrote %d MiB of shared memory where nothing was given to it; the plugin was ended", c.method, stray>>20).
		WithPlugin(c.process.Name()).WithHint("this is a bug in the plugin; docs/protocol.md has the rules")
	c.verdict.Err = wire.ErrRule
	w.clearing = true
	go func() {
		<-c.process.Done()
		w.arena.DropStray()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.clearing = false
	}()
	return c
}

// tell hands reports to the listener; without one they are dropped. The caller holds the lock.
func (w *watch) tell(s Slow) {
	if w.closed {
		return
	}
	select {
	case w.told <- s:
	default:
	}
}

// isStuck reports whether a call shows no progress. Only a Save or Export shows any: its file grows.
func (c *pending) isStuck(passed time.Duration) bool {
	if c.path == "" {
		return true
	}
	c.idle += passed
	if stat, err := os.Stat(c.path); err == nil && stat.Size() != c.size {
		c.size, c.idle = stat.Size(), 0
	}
	return c.idle >= grace/2
}

// condemn kills a process and tells the reason to all that still wait for it.
func (p *Process) condemn(why *fault.Error) {
	p.why.CompareAndSwap(nil, why)
	if p.colocated != nil { // its other plugins end with it
		p.colocated.host.why.CompareAndSwap(nil, why)
	}
	_ = p.child.Kill(context.Background())
}

// longest remembers the time of the longest call of each method.
type longest struct {
	mu sync.Mutex
	by map[string]time.Duration
}

func (l *longest) note(method string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]time.Duration{}
	}
	l.by[method] = max(l.by[method], took)
}

func (l *longest) ofMethod(method string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[method]
}
