package task

import (
	"fmt"
	"time"

	"tandem/core/experiment/ledger"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// How often a trial goes on after what is not its own failure.
const (
	maxLost = 5 // nodes that failed under it
	maxIdle = 3 // time limits that ended it in a row with no checkpoint beyond the one that it went on from
)

// How trials stand, beside the statuses of attempts (ledger.Status).
const (
	Waiting = "waiting"
	Running = "running"
)

// Standing says how a trial stands.
type Standing struct {
	Status string // Waiting, Running, or how its last attempt ended
	// Free says that a task may take the trial, from NotBefore on. A running one may be taken when its owner is dead, which only the
	// ledger can tell.
	Free      bool
	NotBefore time.Time
	Reason    string // why it is not tried again
}

// Judge says how a trial stands by its attempts. Failures and losses count that a round saw, which is one submission.
func Judge(s ledger.State, r spec.Retries, round int) Standing {
	if over := s.Over(); over != nil {
		return Standing{Status: string(over.Status)}
	}
	last := s.Last()
	if last == nil {
		return Standing{Status: Waiting, Free: true}
	}
	if last.End == nil {
		return Standing{Status: Running, Free: true}
	}
	end := last.End
	now := Standing{Status: string(end.Status), Free: true}
	if last.Owner.Round != round {
		return now
	}
	failed, lost, idle := map[fault.Kind]int{}, 0, 0
	reached := 0
	for _, a := range s.Attempts {
		if a.Owner.Round != round || a.End == nil {
			continue
		}
		switch a.End.Status {
		case ledger.Failed:
			failed[a.End.Kind]++
		case ledger.Lost:
			lost++
		}
		if a.End.Why == ledger.TimeOut && a.End.Step <= reached {
			idle++
		} else {
			idle = 0
		}
		reached = max(reached, a.End.Step)
	}
	stay := func(format string, args ...any) Standing {
		return Standing{Status: string(ledger.Failed), Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case end.Status == ledger.Failed && end.Final:
		return stay("a plugin broke a rule of the protocol: another attempt would too")
	case end.Status == ledger.Failed && failed[end.Kind] > r.For(end.Kind):
		return stay("%d failures of kind %s, %d retries", failed[end.Kind], end.Kind, r.For(end.Kind))
	case end.Status == ledger.Failed:
		now.NotBefore = end.At.Add(r.Wait(failed[end.Kind]))
	case lost > maxLost:
		return stay("%d nodes failed under it", lost)
	case idle >= maxIdle:
		return stay("the time limit ended it %d times with no checkpoint beyond step %d: give it more --time", idle, reached)
	}
	return now
}
