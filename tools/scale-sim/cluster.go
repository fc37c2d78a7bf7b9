package main

import (
	"math"

	"tandem/core/random"
)

// cluster is the state of a simulation. Times are seconds.
type cluster struct {
	settings
	agenda
	now    float64
	trials []trial
	tasks  []task
	nodes  []node
	free   []int // slots
	slots  []slot
	queue  []int // tasks that want a slot
	pool   []int // trials that nobody makes
	idle   []int // tasks that hold a slot and wait for a trial that is tried again later
	later  int   // trials that are tried again later
	over   int   // trials
	result result
}

type trial struct {
	work     float64 // that it takes
	saved    float64 // of it, in the newest checkpoint
	fails    float64 // work after which it fails for good; 0: it does not
	attempts int
	open     bool // the newest attempt has no end
	silence  int  // counts the owner's signs of life after a silence
	failures int
	ended    int // how often an end of the trial was recorded
}

type task struct {
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
	kept      float64 // of the attempt's work, what a checkpoint had when it was frozen
	idleFrom  float64 // since when it holds a slot without a trial
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
	c := &cluster{settings: s, trials: make([]trial, s.Trials), tasks: make([]task, s.Tasks), nodes: make([]node, s.Nodes), slots: make([]slot, s.Nodes*s.Slots)}
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
	c.pool = random.New(s.Seed, "order").Perm(s.Trials)
	for i := range c.slots {
		c.slots[i].task = -1
	}
	for i := range c.nodes {
		c.nodes[i].up = true
		c.planTrouble(i)
		c.list(i)
	}
	for i := range c.tasks {
		c.tasks[i] = task{slot: -1, trial: -1}
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
	for i := range c.tasks {
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
	case leaseExpires:
		if t := &c.trials[e.what]; t.open && t.silence == e.which {
			t.open = false
			c.result.Takeovers++
			c.pool = append(c.pool, e.what)
		}
	case trialReady:
		c.later--
		c.pool = append(c.pool, e.what)
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

// dispatch gives free slots to tasks that want one, and trials that nobody makes to tasks that have none.
func (c *cluster) dispatch() {
	for len(c.pool) > 0 && len(c.idle) > 0 {
		i := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if t := c.tasks[i]; t.slot >= 0 && t.trial < 0 && !t.frozen {
			c.take(i)
		}
	}
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
		c.result.Starts++
		c.result.waits = append(c.result.waits, c.now-t.wanted)
		c.result.files(c.now, opsOfStart)
		c.take(i)
	}
}

// take gives a task the next trial. Where there is none, the task waits for those that are tried again later, or leaves.
func (c *cluster) take(i int) {
	t := &c.tasks[i]
	if len(c.pool) == 0 {
		if c.later > 0 {
			c.idle = append(c.idle, i)
		} else {
			c.release(i)
		}
		return
	}
	c.result.Idle += c.now - t.idleFrom
	t.trial, c.pool = c.pool[0], c.pool[1:]
	x := &c.trials[t.trial]
	x.attempts++
	x.open = true
	x.silence++
	t.attempt, t.base, t.kept, t.took, t.began = x.attempts, x.saved, 0, c.now, c.now+c.StartSec
	c.result.Attempts++
	c.result.files(c.now, opsOfAttempt)
	c.schedule(i)
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
func (c *cluster) done(t *task, at float64) (work, saved float64) {
	elapsed := max(0, at-t.began)
	cycle := c.EverySec + c.CheckpointSec
	cycles := math.Floor(elapsed / cycle)
	saved = cycles * c.EverySec
	work = saved + min(elapsed-cycles*cycle, c.EverySec)
	left := max(0, c.trials[t.trial].work-t.base)
	return min(work, left), min(saved, left)
}
