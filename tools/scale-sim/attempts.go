package main

import (
	"math"

	"tandem/core/experiment/ledger"
	"tandem/core/fault"
	"tandem/core/random"
)

// end ends the attempt of a task as planned.
func (c *cluster) end(i int) {
	t := &c.tasks[i]
	k := t.trial
	x := &c.trials[k]
	work, saved := c.done(t, t.signal)
	mine := x.isOpen(t.attempt)
	end := ledger.Outcome{Status: ledger.Done}
	switch t.how {
	case finishes:
		saved = work
	case failsForGood:
		end.Status, end.Kind = ledger.Failed, fault.Numeric
	case breaks:
		end.Status, end.Kind = ledger.Failed, fault.PluginDied
	case runsOut, isPreempted:
		saved = work
		end.Status, end.Why = ledger.Interrupted, ledger.TimeOut
		if t.how == isPreempted {
			end.Why = ledger.Preempted
		}
	}
	if mine {
		x.saved = t.base + saved
	} else {
		saved = t.kept // the rest is lost
	}
	c.account(t, work, work-saved)
	c.close(k, t.attempt, end)
	t.longest = max(t.longest, c.now-t.took)
	c.leave(i)
	if end.Status == ledger.Interrupted {
		c.release(i)
		c.want(i, c.RequeueSec)
		return
	}
	c.take(i)
}

// account adds up what an attempt did with its time until now.
func (c *cluster) account(t *worker, work, lost float64) {
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
	if x := &c.trials[t.trial]; x.isOpen(t.attempt) {
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
	t.slot, t.over = -1, nil
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
			c.silence(t)
			c.drop(i)
		}
		c.release(i)
		c.want(i, c.NoticeSec+c.RequeueSec)
	}
}

// silence notes that a task gives no sign of life from now on.
func (c *cluster) silence(t *worker) {
	if x := &c.trials[t.trial]; x.isOpen(t.attempt) {
		x.lastBeat = c.now - math.Mod(c.now-t.took, c.ExpirySec/beatsOfExpiry)
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
			if x := &c.trials[t.trial]; x.isOpen(t.attempt) {
				x.saved = t.base + t.kept
			}
			c.silence(t)
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
	c.thaw(t)
	if t.trial < 0 {
		c.take(i)
		return
	}
	c.schedule(i)
	if x := &c.trials[t.trial]; x.isOpen(t.attempt) {
		x.lastBeat = math.Inf(1)
	} else if c.Fence {
		soon := c.ExpirySec / beatsOfExpiry * random.New(c.Seed, "beat", i, t.epoch).Float64()
		c.plan(c.now+soon, ownerLooks, i, t.epoch)
	}
}

// thaw counts for how long a task was frozen.
func (c *cluster) thaw(t *worker) {
	if t.frozen && t.trial >= 0 {
		length := c.now - t.frozenAt
		t.began += length
		t.took += length
		c.result.Frozen += length
	}
	t.frozen = false
}
