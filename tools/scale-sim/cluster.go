package main

import (
	"math"
	"time"

	"tandem/core/experiment/ledger"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/random"
)

// cluster is the state of a simulation. Times are seconds.
type cluster struct {
	settings
	agenda
	now    float64
	trials []trial
	tasks  []worker
	nodes  []node
	free   []int // slots
	slots  []slot
	queue  []int // tasks that want a slot
	over   int   // trials
	result result

	retries spec.Retries
}

type trial struct {
	state    ledger.State // what the shared folder has of it
	work     float64      // that it takes
	saved    float64      // of it, in the newest checkpoint
	fails    float64      // work after which it fails for good; 0: it does not
	lastBeat float64      // of the newest attempt's owner; infinite while it gives them
	ended    int          // how often an end of the trial was recorded
}

// isOpen reports whether the newest attempt is this one and has no end.
func (x *trial) isOpen(attempt int) bool {
	last := x.state.Last()
	return last != nil && last.N == attempt && last.End == nil
}

type worker struct {
	slot      int // -1: none
	trial     int // -1: none
	attempt   int // of the trial
	epoch     int // counts what was planned for it
	wanted    float64
	held      float64 // since when it has the slot
	until     float64 // the slot is its
	preempted float64 // when
	took      float64 // when the attempt began
	began     float64 // when its work began
	base      float64 // work that was saved then
	how       ending  // of the attempt, unless something comes between
	signal    float64 // when the work stops for it
	frozen    bool
	frozenAt  float64
	kept      float64  // of the attempt's work, what a checkpoint had when it was frozen
	idleFrom  float64  // since when it holds a slot without a trial
	longest   float64  // attempt since it started
	over      []uint64 // a bit for each trial that it found over since it started
}

type node struct {
	up, frozen bool
	troubles   int
}

type slot struct {
	task   int // -1: none
	listed bool
}

// ending is how an attempt at a trial ends.
type ending int

const (
	finishes ending = iota
	failsForGood
	breaks      // its process ends with an error that may pass
	runsOut     // of the slot's time
	isPreempted // by another job
)

// simulate runs all trials to their ends.
func simulate(s settings) result {
	c := &cluster{settings: s, trials: make([]trial, s.Trials), tasks: make([]worker, s.Tasks), nodes: make([]node, s.Nodes), slots: make([]slot, s.Nodes*s.Slots)}
	c.retries = spec.Retries{Of: map[fault.Kind]int{fault.PluginDied: s.Retries}, Backoff: time.Duration(s.BackoffSec * float64(time.Second))}
	for i := range c.trials {
		r := random.New(s.Seed, "trial", i)
		spread := s.Spread
		// Lognormal with mean TrialSec (Box and Muller 1958).
		normal := math.Sqrt(-2*math.Log(1-r.Float64())) * math.Cos(2*math.Pi*r.Float64())
		work := s.TrialSec * math.Exp(spread*normal-spread*spread/2)
		c.trials[i].work = work
		c.result.Work += work
		if r.Float64() < s.Hopeless {
			c.trials[i].fails = work * (0.01 + 0.99*r.Float64())
		}
	}
	for i := range c.slots {
		c.slots[i].task = -1
	}
	for i := range c.nodes {
		c.nodes[i].up = true
		c.planTrouble(i)
		c.list(i)
	}
	for i := range c.tasks {
		c.tasks[i] = worker{slot: -1, trial: -1}
		c.want(i, 0)
	}
	for c.over < len(c.trials) {
		e, ok := c.next()
		if !ok {
			break
		}
		c.now = e.at
		c.happen(e)
	}
	c.result.Seconds = c.now
	for i := range c.tasks { // those whose trial another task ended
		if t := &c.tasks[i]; t.slot >= 0 && t.trial >= 0 {
			c.thaw(t)
			c.drop(i)
		}
		c.release(i)
	}
	for i := range c.trials {
		c.result.Ended += min(1, c.trials[i].ended)
		c.result.Duplicates += max(0, c.trials[i].ended-1)
	}
	c.result.finish(s)
	return c.result
}

func (c *cluster) happen(e event) {
	switch e.kind {
	case taskStarts:
		c.queue = append(c.queue, e.what)
	case attemptEnds:
		if c.tasks[e.what].epoch == e.which {
			c.end(e.what)
		}
	case taskAsks:
		if c.tasks[e.what].epoch == e.which {
			c.take(e.what)
		}
	case nodeFails:
		c.failNode(e.what)
	case nodeReturns:
		c.nodes[e.what].up = true
		c.planTrouble(e.what)
		c.list(e.what)
	case nodeFreezes:
		c.freezeNode(e.what)
	case nodeThaws:
		c.thawNode(e.what)
	case ownerLooks:
		if t := &c.tasks[e.what]; t.epoch == e.which {
			c.drop(e.what)
			c.take(e.what)
		}
	}
	c.dispatch()
}

// exponential returns a time until something that happens once in mean seconds, without memory; never for 0.
func exponential(r *random.Stream, mean float64) float64 {
	if mean <= 0 {
		return math.Inf(1)
	}
	return -mean * math.Log(1-r.Float64())
}

// stream returns random numbers for what is planned now.
func (c *cluster) stream(purpose string, of int) *random.Stream {
	return random.New(c.Seed, purpose, of, c.planned)
}

// want makes a task wait for a slot: after a delay, behind other jobs for some time, and then for one that is free.
func (c *cluster) want(i int, delay float64) {
	t := &c.tasks[i]
	t.wanted = c.now
	wait := 0.0
	if c.QueueSec > 0 {
		wait = exponential(c.stream("queue", i), c.QueueSec)
	}
	c.plan(c.now+delay+wait, taskStarts, i, 0)
}

// list adds a node's slots to those that are free.
func (c *cluster) list(node int) {
	for s := node * c.Slots; s < (node+1)*c.Slots; s++ {
		if c.slots[s].task < 0 && !c.slots[s].listed {
			c.slots[s].listed = true
			c.free = append(c.free, s)
		}
	}
}

// dispatch gives free slots to tasks that want one.
func (c *cluster) dispatch() {
	for len(c.queue) > 0 && len(c.free) > 0 {
		s := c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		c.slots[s].listed = false
		if n := c.nodes[s/c.Slots]; !n.up || n.frozen {
			continue // it is listed again when it returns
		}
		i := c.queue[0]
		c.queue = c.queue[1:]
		t := &c.tasks[i]
		c.slots[s].task = i
		t.slot, t.held, t.idleFrom, t.until = s, c.now, c.now, c.now+c.LimitSec
		t.preempted = c.now + exponential(c.stream("preemption", i), c.PreemptSec)
		t.longest = 0
		t.over = make([]uint64, (len(c.trials)+63)/64)
		c.result.Starts++
		c.result.waits = append(c.result.waits, c.now-t.wanted)
		c.result.files(c.now, opsOfStart)
		t.epoch++
		c.plan(c.now+c.TaskSec, taskAsks, i, t.epoch)
	}
}

// schedule plans the end of a task's attempt.
func (c *cluster) schedule(i int) {
	t := &c.tasks[i]
	x := &c.trials[t.trial]
	left := x.work - t.base
	at := t.began + c.elapsed(left)
	t.how, t.signal = finishes, at
	sooner := func(how ending, signal, release float64) {
		if release < at {
			t.how, t.signal, at = how, signal, release
		}
	}
	if x.fails > 0 {
		point := t.began + c.elapsed(max(0, x.fails-t.base))
		sooner(failsForGood, point, point)
	}
	if r := random.New(c.Seed, "error", t.trial, t.attempt); r.Float64() < c.ErrorShare {
		point := t.began + c.elapsed(left*r.Float64())
		sooner(breaks, point, point)
	}
	if limit := t.until - c.CheckpointSec; limit < at {
		sooner(runsOut, max(limit, c.now), max(limit, c.now)+c.CheckpointSec)
	}
	sooner(isPreempted, max(t.preempted, c.now), max(t.preempted, c.now)+c.CheckpointSec)
	t.epoch++
	c.plan(at, attemptEnds, i, t.epoch)
}

// elapsed returns how long some work takes with its checkpoints.
func (c *cluster) elapsed(work float64) float64 {
	return work + math.Floor(work/c.EverySec)*c.CheckpointSec
}

// done returns the work of an attempt until at, and how much of it a checkpoint has.
func (c *cluster) done(t *worker, at float64) (work, saved float64) {
	elapsed := max(0, at-t.began)
	cycle := c.EverySec + c.CheckpointSec
	cycles := math.Floor(elapsed / cycle)
	saved = cycles * c.EverySec
	work = saved + min(elapsed-cycles*cycle, c.EverySec)
	left := max(0, c.trials[t.trial].work-t.base)
	return min(work, left), min(saved, left)
}
