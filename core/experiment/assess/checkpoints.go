package assess

import (
	"context"
	"math"
	"slices"
	"strconv"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// Which checkpoints are evaluated, beside a step.
const (
	Last = "last"
	All  = "all"
	Best = "best" // by the metric that decides, among those that are there
)

// checkpoints returns the checkpoints that are asked for, oldest first, whole.
func (a *assessment) checkpoints(ctx context.Context) ([]lab.Checkpoint, error) {
	recorded := a.run.Checkpoints
	if len(recorded) == 0 {
		return nil, fault.New(fault.NotFound, "run %s has no checkpoint", a.run.ID).
			WithHint("a run writes one at its end, on Ctrl-C and every train.checkpoint_every steps")
	}
	switch a.Checkpoint {
	case Last, "":
		c, err := a.lab.FindCheckpoint(a.run.ID, recorded, train.Verify)
		a.skipped(c.Skipped)
		return []lab.Checkpoint{c}, err
	case All:
		return a.whole(recorded)
	case Best:
		best, err := a.best(ctx)
		if err != nil {
			return nil, err
		}
		return a.whole([]store.Checkpoint{best})
	}
	step, err := strconv.Atoi(a.Checkpoint)
	if err != nil {
		return nil, fault.New(fault.Invalid, "checkpoint %q is none", a.Checkpoint).WithHint("last, all, best or a step")
	}
	var steps []string
	for _, c := range recorded {
		if c.Step == step {
			return a.whole([]store.Checkpoint{c})
		}
		steps = append(steps, strconv.Itoa(c.Step))
	}
	return nil, fault.New(fault.NotFound, "run %s has no checkpoint of step %d", a.run.ID, step).
		WithHint("it has those of steps %s; train.keep_checkpoints says how many stay", assemble.FirstFew(steps))
}

// whole returns checkpoints, which come newest first, oldest first. It tells of those that are not whole; it is an error when none is.
func (a *assessment) whole(recorded []store.Checkpoint) ([]lab.Checkpoint, error) {
	found, skipped := a.lab.Checkpoints(a.run.ID, recorded, train.Verify)
	if len(found) == 0 {
		_, err := a.lab.FindCheckpoint(a.run.ID, recorded, train.Verify)
		return nil, err
	}
	a.skipped(skipped)
	slices.Reverse(found)
	return found, nil
}

func (a *assessment) skipped(messages []string) {
	for _, m := range messages {
		a.watch.Event("warning", m)
	}
}

// best returns the recorded checkpoint at whose step the deciding metric is best. Of equal ones the earlier is.
func (a *assessment) best(ctx context.Context) (store.Checkpoint, error) {
	name := a.run.Metric
	if name == "" {
		name = a.own.DecidingMetric()
	}
	by, _ := metric.Evaluation(name)
	r, err := store.OpenReader(a.lab.DB)
	if err != nil {
		return store.Checkpoint{}, err
	}
	defer r.Close()
	way := float64(metric.DirectionOf(name))
	var best store.Checkpoint
	var value float64
	found := false
	for _, c := range a.run.Checkpoints {
		points, err := r.PointsOf(ctx, a.run.ID, by, c.Step)
		if err != nil {
			return best, err
		}
		for _, p := range points {
			if p.Name == name && !math.IsNaN(p.Value) && (!found || (p.Value-value)*way >= 0) {
				best, value, found = c, p.Value, true
			}
		}
	}
	if !found || way == 0 {
		return best, fault.New(fault.NotFound, "run %s has no value of %s at the step of a checkpoint", a.run.ID, name).
			WithHint("--checkpoint all evaluates those that are there; train.eval_every and train.checkpoint_every say when a run does what")
	}
	return best, nil
}
