package schedule

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// A log is a Watcher that keeps what changed.
type log struct {
	changes []State
	trials  []int
	notes   []string
	added   []string
	best    []string
}

func (l *log) Planned(*sweep.Sweep, []State) {}
func (l *log) Changed(trial int, now State) {
	l.trials, l.changes = append(l.trials, trial), append(l.changes, now)
}
func (l *log) Trial(int) run.Watcher { return run.Quiet{} }
func (l *log) Note(message string)   { l.notes = append(l.notes, message) }
func (l *log) Added(t sweep.Trial, _ State) {
	l.added = append(l.added, t.Cells[0].Variant)
}
func (l *log) Best(variant, _ string, _ float64) { l.best = append(l.best, variant) }

// trials makes trials of these variants, the seeds of a variant side by side.
func trials(seeds int, variants ...string) (list []sweep.Trial) {
	for _, v := range variants {
		for seed := range seeds {
			list = append(list, sweep.Trial{Identity: v + string(rune('0'+seed)), Seed: uint64(seed), Cells: []sweep.Cell{{Variant: v}}, Spec: &spec.Spec{}})
		}
	}
	return list
}

// idleScheduler is a scheduler of four trials at noon, none of which was begun.
func idleScheduler() (*scheduler, *log) {
	w, noon := &log{}, time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s := &sweep.Sweep{Trials: trials(2, "a", "b"), Retries: spec.Retries{Of: map[fault.Kind]int{fault.Unavailable: 2}, Backoff: 10 * time.Second}}
	c := &scheduler{sweep: s, options: Options{Jobs: 2}, w: w, now: func() time.Time { return noon }, order: BySeed(s.Trials), states: make([]State, 4)}
	for i := range c.states {
		c.states[i].Status = Waiting
	}
	return c, w
}

func TestEveryVariantComesUnderItsFirstSeedFirst(t *testing.T) {
	if got := BySeed(trials(3, "a", "b")); !slices.Equal(got, []int{0, 3, 1, 4, 2, 5}) {
		t.Errorf("two variants under three seeds: %v", got)
	}
	uneven := append(trials(3, "baseline"), trials(1, "x", "y")...)
	if got := BySeed(uneven); !slices.Equal(got, []int{0, 3, 4, 1, 2}) {
		t.Errorf("a baseline under more seeds: %v", got)
	}
	if got := BySeed(nil); len(got) != 0 {
		t.Errorf("no trials: %v", got)
	}
}

func TestTheNextTrialIsTheFirstThatMayStart(t *testing.T) {
	c, _ := idleScheduler()
	noon := c.now()
	if got := c.next(noon); got != 0 {
		t.Errorf("all wait: %d", got)
	}
	c.states[0].Status = Running
	c.states[2].NotBefore = noon.Add(time.Second) // b under its first seed
	if got := c.next(noon); got != 1 {
		t.Errorf("one runs, one waits for its time: %d", got)
	}
	if got := c.next(noon.Add(time.Second)); got != 2 {
		t.Errorf("a second later: %d", got)
	}
	c.states[1].Status, c.states[2].Status = Done, Failed
	c.states[3].Status = Elsewhere
	if got := c.next(noon); got != 3 {
		t.Errorf("one that another runner makes is asked for again: %d", got)
	}
	c.states[3].NotBefore = noon.Add(elsewhereEvery)
	if got := c.next(noon); got != -1 {
		t.Errorf("nothing may start: %d", got)
	}
}

func TestTheSchedulerSleepsUntilATrialMayStart(t *testing.T) {
	c, _ := idleScheduler()
	noon := c.now()
	c.states[0].NotBefore, c.states[1].NotBefore = noon.Add(30*time.Second), noon.Add(20*time.Second)
	c.states[2].Status, c.states[3].Status = Running, Done
	if got := c.idle(noon); got != 20*time.Second {
		t.Errorf("two trials wait for their time: %v", got)
	}
	c.states[1].NotBefore = time.Time{} // it waits for memory
	if got := c.idle(noon); got != roomEvery {
		t.Errorf("a trial waits for memory: %v", got)
	}
	c.running = 2
	if got := c.idle(noon); got != time.Hour {
		t.Errorf("as many run as may: %v", got)
	}
}

func TestASweepIsOverWhenAllTrialsAre(t *testing.T) {
	c, _ := idleScheduler()
	for i, s := range []Status{Done, Stopped, Failed, Interrupted} {
		if c.over() {
			t.Fatalf("over with %v", c.states)
		}
		c.states[i].Status = s
	}
	if !c.over() {
		t.Errorf("not over with %v", c.states)
	}
	for _, s := range []Status{Waiting, Running, Elsewhere} {
		if (State{Status: s}).over() {
			t.Errorf("a trial that is %s is over", s)
		}
	}
}

// finished hands the end of an attempt at trial 0 to a scheduler and returns what became of the trial.
func finished(c *scheduler, attempt int, status clip.Status, err error, stopping bool) State {
	c.states[0] = State{Status: Running, Attempt: attempt}
	c.finish(end{trial: 0, bench: &assemble.Workbench{}, outcome: run.Outcome{ID: "id", Status: status}, reason: "worse", err: err}, stopping)
	return c.states[0]
}

func TestTheEndOfAnAttemptDecidesOnTheNext(t *testing.T) {
	transient := fault.New(fault.Unavailable, "busy")
	for name, x := range map[string]struct {
		attempt  int
		status   clip.Status
		err      error
		stopping bool
		want     State
	}{
		"done":                     {1, clip.StatusDone, nil, false, State{Status: Done}},
		"stopped by the rule":      {1, clip.StatusStopped, nil, false, State{Status: Stopped, Reason: "worse"}},
		"interrupted":              {1, clip.StatusInterrupted, nil, true, State{Status: Interrupted}},
		"failed for now":           {1, clip.StatusFailed, transient, false, State{Status: Waiting, Err: transient}},
		"failed too often":         {3, clip.StatusFailed, transient, false, State{Status: Failed, Err: transient}},
		"failed while all stops":   {1, clip.StatusFailed, transient, true, State{Status: Failed, Err: transient}},
		"failed for good":          {1, clip.StatusFailed, fault.New(fault.Invalid, "no"), false, State{Status: Failed}},
		"a plugin was replaced":    {3, clip.StatusFailed, process.ErrChanged, false, State{Status: Waiting}},
		"replaced again and again": {4, clip.StatusFailed, process.ErrChanged, false, State{Status: Failed}},
	} {
		c, w := idleScheduler()
		got := finished(c, x.attempt, x.status, x.err, x.stopping)
		if got.Status != x.want.Status || got.Reason != x.want.Reason || got.Attempt != x.attempt || got.RunID != "id" {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
		if len(c.benches) != 1 || len(w.changes) != 1 {
			t.Errorf("%s: %d workbenches are free, %d changes told", name, len(c.benches), len(w.changes))
		}
	}
}

// A trial that failed waits longer each time, and the sweep says so.
func TestRetriesWaitLongerEachTime(t *testing.T) {
	c, w := idleScheduler()
	for attempt, want := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second} {
		got := finished(c, attempt, clip.StatusFailed, fault.New(fault.Unavailable, "busy"), false)
		if wait := got.NotBefore.Sub(c.now()); wait != want {
			t.Errorf("after attempt %d: waits %v, want %v", attempt, wait, want)
		}
	}
	if len(w.notes) != 2 || !strings.Contains(strings.Join(w.notes, "\n"), "a, seed 0: attempt 1 failed and is tried again: ") {
		t.Errorf("notes %q", w.notes)
	}
}

func TestFailuresThatAreAlikeAreToldTogether(t *testing.T) {
	s := &sweep.Sweep{Trials: trials(2, "a", "b")}
	same := fault.New(fault.NotFound, "the data is gone").WithHint("put it back")
	o := Outcome{States: []State{{Status: Failed, RunID: "r0", Err: same}, {Status: Done}, {Status: Failed, RunID: "r2", Err: same}, {Status: Failed, RunID: "r3", Err: errors.New("other")}}}
	text := fault.Format(o.Failure(s))
	for _, want := range []string{"a, seed 0 and 1 more: the data is gone", "put it back; runner show r0 tells more", "b, seed 1: other", "runner show r3 tells more"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "r2") {
		t.Errorf("the second of two alike has its own line:\n%s", text)
	}
	if err := (Outcome{States: []State{{Status: Done}}}).Failure(s); err != nil {
		t.Errorf("of a sweep without failures: %v", err)
	}
	if o.Count(Failed) != 3 || o.Count(Done) != 1 || o.Count(Stopped) != 0 {
		t.Error("the counts are wrong")
	}
}

func TestEitherClosesWithTheFirst(t *testing.T) {
	a, b := make(chan struct{}), make(chan struct{})
	both := either(a, b)
	select {
	case <-both:
		t.Fatal("closed before either")
	default:
	}
	close(a)
	<-both // hangs when it does not close
	b2 := make(chan struct{})
	both = either(make(chan struct{}), b2)
	close(b2)
	<-both
	close(b)
}
