package main

import (
	"math"

	"tandem/core/random"
)

// end ends the attempt of a task as planned.
func (c *cluster) end(i int) {
	t := &c.tasks[i]
	x := &c.trials[t.trial]
	if c.Fence && (x.attempts != t.attempt || !x.open) {
		c.result.Refused++ // the end is there already: what was made since does not count
		c.drop(i)
		c.take(i)
		return
	}
	switch t.how {
	case finishes:
		work, _ := c.done(t, t.signal)
		c.account(t, work, 0)
		c.record(t.trial)
		c.result.Done++
	case failsForGood:
		work, _ := c.done(t, t.signal)
		c.account(t, work, 0)
		c.result.WorkOfFailed += t.base + work
		c.record(t.trial)
		c.result.Failed++
	case breaks:
		work, saved := c.done(t, t.signal)
		c.account(t, work, work-saved)
		x.saved = t.base + saved
		c.tryAgain(t.trial)
	case runsOut, isPreempted:
		work, _ := c.done(t, t.signal)
		c.account(t, work, 0)
		x.saved, x.open = t.base+work, false
		c.pool = append(c.pool, t.trial)
		if t.how == runsOut {
			c.result.TimeOuts++
		} else {
			c.result.Preemptions++
		}
		c.leave(i)
		c.release(i)
		c.want(i, c.RequeueSec)
		return
	}
	c.leave(i)
	c.take(i)
}

// record writes the end of a trial.
func (c *cluster) record(trial int) {
	x := &c.trials[trial]
	x.open = false
	if x.ended++; x.ended == 1 {
		c.over++
	}
	c.result.files(c.now, opsOfEnd)
}

// tryAgain plans another attempt at a trial that failed, later each time, or lets it fail.
func (c *cluster) tryAgain(trial int) {
	x := &c.trials[trial]
	if x.failures++; x.failures > c.Retries {
		c.result.WorkOfFailed += x.saved
		c.record(trial)
		c.result.Failed++
		return
	}
	x.open = false
	c.result.Retries++
	c.later++
	c.plan(c.now+c.BackoffSec*math.Pow(2, float64(x.failures-1)), trialReady, trial, 0)
}

// account adds up what an attempt did with its time until now.
func (c *cluster) account(t *task, work, lost float64) {
	c.result.Computed += work
	c.result.Lost += lost
	c.result.Overhead += c.now - t.took - work
	c.result.beats(t.took, c.now, c.ExpirySec)
	c.result.files(c.now, opsOfCheckpoint*math.Floor(max(0, c.now-t.began)/(c.EverySec+c.CheckpointSec)))
}

// drop forgets what a task did since the newest checkpoint that others may use.
func (c *cluster) drop(i int) {
	t := &c.tasks[i]
	work, saved := c.done(t, c.now)
	if x := &c.trials[t.trial]; x.attempts == t.attempt && x.open {
		x.saved = t.base + saved
	} else {
		saved = t.kept
	}
	c.account(t, work, work-saved)
	c.leave(i)
}

// leave parts a task from its trial.
func (c *cluster) leave(i int) { c.tasks[i].trial, c.tasks[i].idleFrom = -1, c.now }

// release gives a task's slot back.
func (c *cluster) release(i int) {
	t := &c.tasks[i]
	if t.slot < 0 {
		return
	}
	c.result.Held += c.now - t.held
	if t.trial < 0 {
		c.result.Idle += c.now - t.idleFrom
	}
	s := t.slot
	t.slot = -1
	t.epoch++
	c.slots[s].task = -1
	if n := c.nodes[s/c.Slots]; n.up && !n.frozen && !c.slots[s].listed {
		c.slots[s].listed = true
		c.free = append(c.free, s)
	}
}

// planTrouble plans when a node fails or freezes next.
func (c *cluster) planTrouble(n int) {
	c.nodes[n].troubles++
	r := random.New(c.Seed, "trouble", n, c.nodes[n].troubles)
	fails, freezes := c.now+exponential(r, c.NodeSec), c.now+exponential(r, c.FreezeSec)
	switch {
	case fails < freezes:
		c.plan(fails, nodeFails, n, 0)
	case !math.IsInf(freezes, 1):
		c.plan(freezes, nodeFreezes, n, 0)
	}
}

// failNode ends all that runs on a node. Nobody knows of it before leases expire and the engine notices.
func (c *cluster) failNode(n int) {
	c.result.NodeFailures++
	c.nodes[n].up = false
	c.killAll(n)
	c.plan(c.now+c.RepairSec, nodeReturns, n, 0)
}

// killAll ends the tasks of a node without a word; the engine starts them again elsewhere.
func (c *cluster) killAll(n int) {
	for s := n * c.Slots; s < (n+1)*c.Slots; s++ {
		i := c.slots[s].task
		if i < 0 {
			continue
		}
		if t := &c.tasks[i]; t.trial >= 0 {
			c.expire(t)
			c.drop(i)
		}
		c.release(i)
		c.want(i, c.NoticeSec+c.RequeueSec)
	}
}

// expire plans when others may take the trial of a task that gives no sign of life from now on.
func (c *cluster) expire(t *task) {
	if x := &c.trials[t.trial]; x.attempts == t.attempt && x.open {
		lastBeat := c.now - math.Mod(c.now-t.took, c.ExpirySec/beatsOfExpiry)
		c.plan(lastBeat+c.ExpirySec, leaseExpires, t.trial, x.silence)
	}
}

// freezeNode stops a node's processes for some time: its file server hangs, a virtual machine is moved. A node that is away for too long
// is a failed one to the engine, which starts its tasks elsewhere and ends what it finds of them later.
func (c *cluster) freezeNode(n int) {
	c.result.Freezes++
	c.nodes[n].frozen = true
	length := exponential(random.New(c.Seed, "freeze", n, c.nodes[n].troubles), c.FrozenSec)
	c.plan(c.now+length, nodeThaws, n, 0)
	if length > c.NoticeSec {
		c.killAll(n)
		return
	}
	for s := n * c.Slots; s < (n+1)*c.Slots; s++ {
		i := c.slots[s].task
		if i < 0 {
			continue
		}
		t := &c.tasks[i]
		t.frozen, t.frozenAt = true, c.now
		t.epoch++ // what was planned does not happen
		if t.trial >= 0 {
			_, t.kept = c.done(t, c.now)
			if x := &c.trials[t.trial]; x.attempts == t.attempt && x.open {
				x.saved = t.base + t.kept
			}
			c.expire(t)
		}
	}
}

// thawNode lets a node's processes go on.
func (c *cluster) thawNode(n int) {
	c.nodes[n].frozen = false
	for s := n * c.Slots; s < (n+1)*c.Slots; s++ {
		if i := c.slots[s].task; i >= 0 && c.tasks[i].frozen {
			c.goOn(i)
		}
	}
	c.planTrouble(n)
	c.list(n)
}

// goOn lets a task go on that was frozen. When its trial was taken over meanwhile, it finds that at its next sign of life; until
// then it computes, and may even come to an end, which is refused.
func (c *cluster) goOn(i int) {
	t := &c.tasks[i]
	t.frozen = false
	if t.trial < 0 {
		c.take(i)
		return
	}
	length := c.now - t.frozenAt
	t.began += length
	t.took += length
	c.result.Frozen += length
	c.schedule(i)
	if x := &c.trials[t.trial]; x.attempts == t.attempt && x.open {
		x.silence++ // it touches its lease
	} else if c.Fence {
		soon := c.ExpirySec / beatsOfExpiry * random.New(c.Seed, "beat", i, t.epoch).Float64()
		c.plan(c.now+soon, ownerLooks, i, t.epoch)
	}
}
