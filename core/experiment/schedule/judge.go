package schedule

import (
	"context"
	"sync"
	"sync/atomic"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/experiment/train"
	"tandem/core/results"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// A judge watches a trial that the sweep's rule may stop. It asks the rule at every value of the rule's
// metric, beside what the other trials had recorded by then.
type judge struct {
	run.Watcher
	settings *spec.Stop
	metric   string
	smaller  bool                                       // smaller values of it are better
	every    int                                        // steps between values of train/ metrics
	curves   func() (others []results.Curve, err error) // nil: the trial is not to be stopped
	rule     sweep.Rule                                 // nil before the run began
	steps    int
	own      results.Curve

	stop   chan struct{}
	end    func() // closes stop
	reason atomic.Pointer[string]
}

// judge returns the judge of a trial, which passes on to w.
func (c *scheduler) judge(ctx context.Context, trial int, claim store.Claim, w run.Watcher) *judge {
	t := c.sweep.Trials[trial]
	j := &judge{Watcher: w, stop: make(chan struct{}), every: t.Spec.Train.LogEvery}
	j.end = sync.OnceFunc(func() { close(j.stop) })
	if !c.sweep.MayStop(t) {
		return j
	}
	j.settings, j.metric = c.sweep.Stop, c.sweep.Stop.Metric
	j.smaller = metric.DirectionIn(c.sweep.Directions, j.metric) == metric.Down
	if claim.Resumed { // what it recorded before
		points, _ := c.reader.Curve(ctx, claim.ID, j.metric)
		j.own = points
	}
	identities := map[string]bool{}
	for i, other := range c.sweep.Trials {
		identities[other.Identity] = i != trial
	}
	j.curves = func() ([]results.Curve, error) {
		all, err := c.reader.Curves(ctx, c.sweep.Base.Name, j.metric)
		if err != nil {
			return nil, err
		}
		var curves []results.Curve
		for identity, points := range all {
			if identities[identity] {
				curves = append(curves, points)
			}
		}
		return curves, nil
	}
	return j
}

// Began implements Watcher: now it is known how many steps an epoch has.
func (j *judge) Began(b assemble.Summary) {
	if j.curves != nil {
		j.steps = b.Steps
		j.rule = sweep.NewRule(j.settings, j.settings.Grace.In(max(1, b.StepsPerEpoch)), j.smaller)
	}
	j.Watcher.Began(b)
}

// Step implements Watcher.
func (j *judge) Step(r train.StepReport) {
	j.Watcher.Step(r)
	if j.metric == metric.TrainLoss && (r.Step%max(1, j.every) == 0) {
		j.value(r.Step, r.Loss)
	}
}

// Evaluated implements Watcher.
func (j *judge) Evaluated(step int, name string, values []clip.Metric) {
	j.Watcher.Evaluated(step, name, values)
	for _, v := range values {
		if v.Name == j.metric {
			j.value(step, v.Value)
		}
	}
}

// value asks the rule about a new value of its metric.
func (j *judge) value(step int, value float64) {
	if j.rule == nil || step >= j.steps || j.reason.Load() != nil {
		return
	}
	j.own = append(j.own, results.Point{Step: step, Value: value})
	others, err := j.curves()
	if err != nil {
		j.Event("warning", "the rule of early stopping was not asked: "+err.Error())
		return
	}
	if reason, stop := j.rule.Decide(step, j.own, others); stop {
		j.reason.Store(&reason)
		j.end()
	}
}

// stopped says why the rule stopped the trial; "" when it did not.
func (j *judge) stopped() string {
	if reason := j.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}
