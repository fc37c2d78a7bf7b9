package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
)

// memory is a tracker in memory that can be away, slow or picky.
type memory struct {
	mu     sync.Mutex
	away   bool
	hangs  bool // does not return before its context ends
	opened int
	steps  []int
	values int
	ended  clip.Status
	closed bool
	never  bool           // Open refuses
	had    map[string]int // what it had when it was opened
}

func (m *memory) state(ctx context.Context) error {
	m.mu.Lock()
	away, hangs := m.away, m.hangs
	m.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if away {
		return errors.New("nobody answers")
	}
	return nil
}

func (m *memory) Open(ctx context.Context, _ Run) (func(string) int, error) {
	m.opened++
	if m.never {
		return nil, fault.New(fault.Invalid, "no such place")
	}
	return Newest(m.had), m.state(ctx)
}

func (m *memory) Write(ctx context.Context, points []Points) error {
	if err := m.state(ctx); err != nil {
		return err
	}
	for _, p := range points {
		if p.Values[0].Name == "bad" {
			return fault.New(fault.Invalid, "a name that is none")
		}
		m.steps = append(m.steps, p.Step)
		m.values += len(p.Values)
	}
	return nil
}

func (m *memory) End(ctx context.Context, e End) error {
	if err := m.state(ctx); err != nil {
		return err
	}
	m.ended = e.Status
	return nil
}

func (m *memory) Close() error { m.closed = true; return nil }

func (m *memory) is(away, hangs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away, m.hangs = away, hangs
}

func points(step, values int) Points {
	p := Points{Step: step, Values: make([]clip.Metric, values)}
	for i := range p.Values {
		p.Values[i].Name = fmt.Sprint("m", i)
	}
	return p
}

// record is what the database has.
type record struct {
	mu  sync.Mutex
	all []Points
}

func (r *record) add(p Points) Points {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, p)
	return p
}

func (r *record) LastSteps(context.Context) (map[string]int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]int{}
	for _, p := range r.all {
		for _, v := range p.Values {
			last[v.Name] = p.Step
		}
	}
	return last, nil
}

func (r *record) Between(_ context.Context, after, upTo int) (some []Points, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.all {
		if p.Step > after && p.Step <= upTo {
			some = append(some, p)
		}
	}
	return some, nil
}

// fed feeds trackers and returns what was told.
func fed(do func(f *Feed), all ...*memory) (told []string) { return fedFrom(Run{From: -1}, do, all...) }

func fedFrom(r Run, do func(f *Feed), all ...*memory) (told []string) {
	var mu sync.Mutex
	var named []Named
	for i, m := range all {
		named = append(named, Named{fmt.Sprint("t", i), m})
	}
	do(Start(r, named, func(level, message string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, level+": "+message)
	}))
	return told
}

func steps(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestEveryTrackerGetsEveryPointInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &memory{}, &memory{}
		told := fed(func(f *Feed) {
			for i := range 3000 {
				f.Points(points(i, 40))
				time.Sleep(time.Millisecond)
			}
			f.End(t.Context(), End{Status: clip.StatusDone}, time.Second)
		}, a, b)
		for _, m := range []*memory{a, b} {
			if !slices.Equal(m.steps, steps(3000)) || m.ended != clip.StatusDone || !m.closed || m.opened != 1 {
				t.Errorf("a tracker has %d steps, ended %q, closed %t, opened %d times", len(m.steps), m.ended, m.closed, m.opened)
			}
		}
		if len(told) != 0 {
			t.Errorf("told %q", told)
		}
	})
}

func TestATrackerThatComesBackGetsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := &memory{away: true}, &memory{}
		told := fed(func(f *Feed) {
			for i := range 600 {
				if i == 300 {
					m.is(false, false)
				}
				f.Points(points(i, 3))
				time.Sleep(time.Second)
			}
			f.End(t.Context(), End{}, time.Second)
		}, m, other)
		if !slices.Equal(m.steps, steps(600)) || !slices.Equal(other.steps, steps(600)) {
			t.Errorf("the trackers have %d and %d steps", len(m.steps), len(other.steps))
		}
		want := []string{"warning: t0 cannot be written: nobody answers; the run goes on, and it is tried again", "info: t0 takes points again"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
	})
}

// What does not fit is counted, and giving it takes no time.
func TestATrackerThatStaysAwayCostsNothingAndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, m := range map[string]*memory{"nobody answers": {away: true}, "it does not answer": {hangs: true}} {
			start := time.Now()
			told := fed(func(f *Feed) {
				p := points(1, 100)
				for range queueLimit/100 + 50 {
					f.Points(p)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("giving points took %v", took)
				}
				time.Sleep(time.Hour)
				start = time.Now()
				f.End(t.Context(), End{}, 10*time.Second)
			}, m)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: the end waited %v", name, took)
			}
			if last := told[len(told)-1]; len(told) > 2 || last != "warning: t0 has 0 of 267,100 values of the run; the database has all: "+name {
				t.Errorf("told %q", told)
			}
			if len(m.steps) != 0 || !m.closed {
				t.Errorf("%d steps, closed %t", len(m.steps), m.closed)
			}
		}
	})
}

// What does not fit into the queue is read from the record, once the tracker is back.
func TestATrackerThatComesBackLateGetsTheRestFromTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := &memory{away: true}, &record{}
		const n = queueLimit/100 + 5000
		told := fedFrom(Run{From: -1, Record: r}, func(f *Feed) {
			p := points(0, 100)
			for i := range n {
				p.Step = i
				f.Points(r.add(p))
				if i == 0 {
					synctest.Wait() // the feed has found the tracker away
				}
				if i == n-1000 {
					m.is(false, false)
				}
				if i > n-1000 {
					time.Sleep(100 * time.Millisecond)
				}
			}
			f.End(t.Context(), End{}, time.Minute)
		}, m)
		if !slices.Equal(m.steps, steps(n)) {
			t.Errorf("%d steps, want %d, in order: %t", len(m.steps), n, slices.IsSorted(m.steps))
		}
		if len(told) != 2 || told[1] != "info: t0 takes points again" {
			t.Errorf("told %q", told)
		}
	})
}

// A process that was killed may have recorded points that the tracker did not get any more.
func TestARunThatGoesOnGivesWhatTheTrackerLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		for i := range 101 {
			r.add(points(i, 2))
		}
		m := &memory{had: map[string]int{"m0": 60, "m1": 80}}
		whole := &memory{had: map[string]int{"m0": 100, "m1": 150}}
		told := fedFrom(Run{From: 100, Record: r}, func(f *Feed) {
			for i := 101; i < 200; i++ {
				f.Points(r.add(points(i, 2)))
			}
			f.End(t.Context(), End{}, time.Minute)
		}, m, whole)
		if !slices.Equal(m.steps, steps(200)[61:]) || !slices.Equal(whole.steps, steps(200)[101:]) {
			t.Errorf("steps %v and %v", m.steps, whole.steps)
		}
		if m.values != 139+119 || whole.values != 99+49 || len(told) != 0 {
			t.Errorf("%d and %d values, told %q", m.values, whole.values, told)
		}
	})
}

func TestWhatATrackerRefusesIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		told := fed(func(f *Feed) {
			f.Points(Points{Step: 1, Values: []clip.Metric{{Name: "bad"}}})
			time.Sleep(time.Minute)
			f.Points(points(2, 1))
			f.End(t.Context(), End{}, time.Second)
		}, m)
		if !slices.Equal(m.steps, []int{2}) || len(told) != 2 || !strings.HasPrefix(told[1], "warning: t0 has 1 of 2 values") {
			t.Errorf("steps %v, told %q", m.steps, told)
		}
	})
}

func TestATrackerThatRefusesTheRunIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{never: true}
		told := fed(func(f *Feed) {
			f.Points(points(1, 5))
			time.Sleep(time.Hour)
			f.End(t.Context(), End{}, time.Hour)
		}, m)
		want := []string{"warning: t0 cannot be written: no such place; the run goes on without it", "warning: t0 has 0 of 5 values of the run; the database has all: no such place"}
		if m.opened != 1 || !slices.Equal(told, want) {
			t.Errorf("opened %d times, told %q", m.opened, told)
		}
	})
}

// Who wants the run to end at once waits for no tracker.
func TestNobodyWaitsOnceTheContextIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		hanging, well := &memory{hangs: true}, &memory{}
		start := time.Now()
		fed(func(f *Feed) {
			f.Points(points(0, 1))
			f.End(ctx, End{Status: clip.StatusInterrupted}, time.Hour)
		}, hanging, well)
		if took := time.Since(start); took != 0 || !slices.Equal(well.steps, steps(1)) || well.ended != clip.StatusInterrupted {
			t.Errorf("it took %v; %v, %q", took, well.steps, well.ended)
		}
	})
}

func BenchmarkPoints(b *testing.B) {
	m := &memory{}
	f := Start(Run{From: -1}, []Named{{"t", m}}, func(string, string) {})
	p := points(1, 20)
	for b.Loop() {
		f.Points(p)
	}
	b.StopTimer()
	f.End(context.Background(), End{}, time.Second)
}
