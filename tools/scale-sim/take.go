package main

import (
	"math"
	"strconv"
	"time"

	"tandem/core/experiment/ledger"
	"tandem/core/experiment/task"
)

// clock returns a second of the simulation as the ledger writes times.
func clock(seconds float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// take gives a task the next trial that it can have. Where there is none, the task asks again later if what it waits for is its own,
// and leaves otherwise; where its time would not do for another trial, it starts anew.
func (c *cluster) take(i int) {
	t := &c.tasks[i]
	if t.longest > 0 && t.until-c.CheckpointSec-c.now < 1.1*t.longest {
		k, _ := c.find(i, true)
		c.release(i)
		if k >= 0 {
			c.result.Anew++
			c.want(i, c.RequeueSec)
		}
		return
	}
	k, wait := c.find(i, false)
	if k < 0 {
		if !math.IsInf(wait, 1) {
			t.epoch++
			c.plan(c.now+max(wait, 0.05), taskAsks, i, t.epoch)
			return
		}
		c.release(i)
		return
	}
	c.result.Idle += c.now - t.idleFrom
	x := &c.trials[k]
	n := len(x.state.Attempts) + 1
	x.state.Attempts = append(x.state.Attempts, ledger.Attempt{N: n, Owner: ledger.Owner{Task: strconv.Itoa(i)}})
	x.lastBeat = math.Inf(1)
	t.trial, t.attempt, t.base, t.kept, t.took, t.began = k, n, x.saved, 0, c.now, c.now+c.StartSec
	c.result.Attempts++
	c.result.files(c.now, opsOfAttempt)
	c.schedule(i)
}

// find returns the trial that a task would take, and where there is none when it is to ask again. An owner that is taken for dead gets its
// end. free asks only for a trial that nobody has.
func (c *cluster) find(i int, free bool) (trial int, wait float64) {
	t := &c.tasks[i]
	name := strconv.Itoa(i)
	trial, wait = -1, math.Inf(1)
	calls := 0.0
	_ = task.Walk(len(c.trials), i, len(c.tasks), func(k int) (had, goOn bool, err error) {
		if t.over[k/64]>>(k%64)&1 == 1 {
			return false, true, nil
		}
		x := &c.trials[k]
		calls += opsOfRead + 2*float64(len(x.state.Attempts))
		s := task.Judge(x.state, c.retries, 0)
		last := x.state.Last()
		switch {
		case !s.Free:
			t.over[k/64] |= 1 << (k % 64)
			return false, true, nil
		case free && s.Status == task.Running:
			return false, true, nil
		case free:
		case s.NotBefore.After(clock(c.now)):
			if last.Owner.Task == name {
				wait = min(wait, s.NotBefore.Sub(clock(c.now)).Seconds())
			}
			return false, true, nil
		case last != nil && last.End == nil:
			calls += opsOfAge
			if c.now-x.lastBeat <= c.ExpirySec {
				if last.Owner.Task == name {
					wait = min(wait, c.ExpirySec/4)
				}
				return false, true, nil
			}
			if !c.close(k, last.N, ledger.Outcome{Status: ledger.Lost}) {
				return false, true, nil
			}
		}
		trial = k
		return true, false, nil
	})
	c.result.files(c.now, calls)
	return trial, wait
}

// close writes the end of an attempt, and that of its trial where no other follows. It reports whether another may.
func (c *cluster) close(k, attempt int, end ledger.Outcome) (goesOn bool) {
	x := &c.trials[k]
	if !x.isOpen(attempt) {
		if c.Fence { // the end is there already: what was made since does not count
			c.result.Refused++
		} else if end.Status == ledger.Done {
			x.ended++
		}
		return true
	}
	end.At, end.Step = clock(c.now), int(x.saved)
	x.state.Last().End = &end
	c.result.files(c.now, opsOfEnd)
	s := task.Judge(x.state, c.retries, 0)
	if !s.Free {
		x.ended++
		c.over++
		if s.Status == string(ledger.Failed) {
			c.result.Failed++
			c.result.WorkOfFailed += x.saved
			if end.Status != ledger.Failed {
				c.result.GivenUp++
			}
		} else {
			c.result.Done++
			c.result.WorkOfDone += x.saved
		}
		return false
	}
	switch {
	case end.Status == ledger.Lost:
		c.result.Takeovers++
	case end.Status == ledger.Failed:
		c.result.Retries++
	case end.Why == ledger.TimeOut:
		c.result.TimeOuts++
	default:
		c.result.Preemptions++
	}
	return true
}
