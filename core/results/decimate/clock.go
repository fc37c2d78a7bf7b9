package decimate

import (
	"context"
	"sort"

	"tandem/core/results/metric"
)

// Clock tells how long a run had trained at a step, as far as its throughput tells: the time of a point is not recorded. Evaluations and
// pauses are not in it.
type Clock struct {
	From    string // the metric that it is derived from
	Steps   []int
	Seconds []float64 // at Steps
}

// ticks is how many steps a clock knows the time of; between them it goes evenly.
const ticks = 1024

// Clock derives a run's clock from train/step_ms, or from train/samples_per_s and the size of its batches. It is nil when the run
// records neither.
func (d *Decimator) Clock(ctx context.Context, run string, batch float64) (*Clock, error) {
	for _, by := range []struct {
		metric  string
		inverse bool
		scale   float64 // to seconds a step
	}{{metric.StepMS, false, 1e-3}, {metric.SamplesPerS, true, batch}} {
		c, err := d.curve(ctx, run, by.metric, -1, -1, ticks, by.inverse)
		if err != nil {
			return nil, err
		}
		if len(c.Columns) == 0 || by.scale <= 0 {
			continue
		}
		// A point may stand for several steps (train.log_every): those since the point before.
		gap := 1.0
		if c.N > 1 {
			gap = float64(c.Last-c.First) / float64(c.N-1)
		}
		k := &Clock{From: by.metric, Steps: []int{max(0, c.First-int(gap))}, Seconds: []float64{0}}
		at := 0.0
		for i, x := range c.Columns {
			end := c.Last
			if i+1 < len(c.Columns) {
				end = c.Columns[i+1].Step - 1
			}
			if c.Size == 1 {
				end = x.Step
			}
			at += x.Sum * by.scale * gap
			if end > k.Steps[len(k.Steps)-1] {
				k.Steps, k.Seconds = append(k.Steps, end), append(k.Seconds, at)
			}
		}
		return k, nil
	}
	return nil, nil
}

// At returns the seconds of training up to a step.
func (k *Clock) At(step int) float64 {
	i := sort.SearchInts(k.Steps, step)
	switch {
	case i == 0:
		return k.Seconds[0]
	case i == len(k.Steps):
		i--
	}
	s0, s1, t0, t1 := k.Steps[i-1], k.Steps[i], k.Seconds[i-1], k.Seconds[i]
	return t0 + (t1-t0)*float64(step-s0)/float64(s1-s0)
}
