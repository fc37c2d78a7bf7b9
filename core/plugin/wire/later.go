package wire

import (
	"context"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/plugin/wire/pb"
)

// later holds the step that a plugin has been told of and that was put off until the next call (clip.LaterStepper).
type later struct {
	mu     sync.Mutex
	able   bool   // the plugin takes a step along with another call
	number uint64 // of the last step that was put off
	due    *pb.StepRequest
	send   func(context.Context, *pb.StepRequest) error // in a call of its own
}

// stepless names the methods that see neither parameters nor gradients, and Close, after which nothing does.
var stepless = map[string]bool{"CountTokens": true, "Describe": true, "Plan": true, "Settle": true, "Close": true}

var _ clip.LaterStepper = (*trainableClient)(nil)

// StepLater implements clip.LaterStepper. A plugin that cannot take a step along gets it at once.
func (t *trainableClient) StepLater(ctx context.Context, step int, lr, scale float64) error {
	l := &t.conn.later
	l.mu.Lock()
	able := l.able
	l.mu.Unlock()
	if !able {
		return t.Step(ctx, step, lr, scale)
	}
	if err := t.conn.stepFirst(ctx, "Step", nil); err != nil { // two in a row
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	l.due = &pb.StepRequest{Step: int64(step), Lr: lr, Scale: scale, Number: l.number}
	l.send = func(ctx context.Context, q *pb.StepRequest) error {
		_, err := call(ctx, t.conn.lease(), "Step", t.rpc.Step, q)
		return err
	}
	return nil
}

// stepsAlong notes what Configure answered. On a tape each step is a call of its own, so that it can be played to any plugin.
func (c *Conn) stepsAlong(able bool) {
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	c.later.able = able && c.version >= 2 && !c.taped
}

// stepFirst lets the step that is due go with a request or, where the request cannot carry it, before it.
func (c *Conn) stepFirst(ctx context.Context, method string, request any) error {
	c.later.mu.Lock()
	due, send := c.later.due, c.later.send
	c.later.mu.Unlock()
	if due == nil || stepless[method] {
		return nil
	}
	switch q := request.(type) {
	case *pb.ForwardRequest:
		q.StepBefore = due
		return nil
	case *pb.LossRequest:
		q.StepBefore = due
		return nil
	case *pb.StepRequest:
		if q == due {
			return nil
		}
	}
	return send(ctx, due)
}

// stepTaken notes after a call without an error that the step which it carried, or was, is no longer due.
func (c *Conn) stepTaken(request any) {
	var taken *pb.StepRequest
	switch q := request.(type) {
	case *pb.StepRequest:
		taken = q
	case interface{ GetStepBefore() *pb.StepRequest }:
		taken = q.GetStepBefore()
	}
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	if taken != nil && taken == c.later.due {
		c.later.due = nil
	}
}

// splitStep describes the step that a call carried as a call of its own, which ended when the step did. It returns it with
// what is left of the call; false when there was none.
func (c *Conn) splitStep(whole Call, response any) (step, rest Call, ok bool) {
	r, carries := response.(interface{ GetStepBefore() *pb.Took })
	if !carries || r.GetStepBefore() == nil {
		return step, whole, false
	}
	step = Call{Plugin: whole.Plugin, Method: "Step", Start: whole.Start}
	step.Server, step.Inside = methodTime(whole.Start, whole.Client, r.GetStepBefore())
	step.Client = step.Server
	if !step.Inside.IsZero() {
		step.Client = max(step.Server, step.Inside.Add(step.Server).Sub(whole.Start))
	}
	step.Client = min(step.Client, whole.Client-whole.Server)
	rest = whole
	rest.Start, rest.Client = whole.Start.Add(step.Client), whole.Client-step.Client
	return step, rest, true
}

// stepBefore takes the step that a request carries, nil for none, and tells how long it took. The compute thread calls it.
func (t *trainableServer) stepBefore(ctx context.Context, q *pb.StepRequest) (*pb.Took, error) {
	if q == nil {
		return nil, nil
	}
	start := time.Now()
	err := t.step(ctx, q)
	return &pb.Took{StartNanos: toClock(start), KernelNanos: time.Since(start).Nanoseconds()}, err
}

// step takes a step, unless it has a number and was taken already.
func (t *trainableServer) step(ctx context.Context, q *pb.StepRequest) (err error) {
	if q.Number != 0 && q.Number <= t.taken {
		return nil
	}
	if len(q.Gradients) > 0 {
		err = t.stepWith(ctx, q)
	} else {
		err = t.impl.Step(ctx, int(q.Step), q.Lr, q.Scale)
	}
	if err == nil && q.Number != 0 {
		t.taken = q.Number
	}
	return err
}
