package conformance

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// ratedLinear adds to linear a rate for its one parameter, which is layer 1 of 2, and an average. It may break a rule.
type ratedLinear struct {
	*linear
	fault        string
	scale, decay float64 // of the rate; of the weights
	keep         float64 // EMADecay
	average      []float32
	begun        bool
}

func (l *ratedLinear) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	info, err := l.linear.Configure(ctx, c)
	if err != nil {
		return info, err
	}
	l.scale, l.decay, l.keep = 1, 0, c.Optimizer.EMADecay
	if d := c.Optimizer.LayerDecay; d != 0 && l.fault != "has no layers" {
		l.scale = d
	}
	groups := c.Optimizer.Groups
	for i, g := range groups {
		if slices.Contains(g.Params, "no such parameter") {
			path := fmt.Sprintf("optimizer.groups[%d].params", i)
			if l.fault == "names no place" {
				path = ""
			}
			return info, fault.New(fault.Invalid, "no parameter").WithPath(path)
		}
		if last := i == len(groups)-1; i > 0 && !(last && l.fault == "takes the last group") {
			continue
		}
		l.scale, l.decay = 1, 0
		if g.LRScale != nil {
			l.scale = *g.LRScale
		}
		if g.WeightDecay != nil && l.fault != "decays nothing" {
			l.decay = *g.WeightDecay
		}
	}
	if l.average = slices.Clone(l.w); l.fault == "starts from zero" {
		l.average = make([]float32, len(l.w))
		l.average[0] = 1
	}
	return info, nil
}

func (l *ratedLinear) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	if !q.EMA {
		return l.linear.Forward(ctx, q)
	}
	if l.keep == 0 || q.Mode == clip.Train {
		return nil, 0, fault.New(fault.Invalid, "no average")
	}
	live := l.w
	l.w = l.average
	defer func() { l.w = live }()
	return l.linear.Forward(ctx, q)
}

func (l *ratedLinear) Step(ctx context.Context, n int, lr, scale float64) error {
	lr *= l.scale
	for i := range l.w {
		l.w[i] -= float32(lr * l.decay * float64(l.w[i]))
	}
	if err := l.linear.Step(ctx, n, lr, scale); err != nil || l.keep == 0 {
		return err
	}
	keep := float32(l.keep)
	if !l.begun {
		keep = 0
	}
	for i := range l.average {
		l.average[i] = keep*l.average[i] + (1-keep)*l.w[i]
	}
	if l.begun = true; l.fault == "trains on the average" {
		copy(l.w, l.average)
	}
	return nil
}

func (l *ratedLinear) Save(ctx context.Context, path string) error {
	if l.keep == 0 {
		return l.linear.Save(ctx, path)
	}
	return weights.Write(path, []weights.Tensor{weights.FromF32("w", l.w, 12, l.d), weights.FromF32("m", l.m, 12, l.d),
		weights.FromF32("ema.w", l.average, 12, l.d)}, nil)
}

func (l *ratedLinear) Load(ctx context.Context, path string) error {
	if err := l.linear.Load(ctx, path); err != nil || l.keep == 0 {
		return err
	}
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if l.begun = true; l.fault != "forgets the average" {
		l.average, err = f.F32("ema.w", 12, l.d)
	}
	return err
}

func TestEveryRuleOfRatesCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &ratedLinear{linear: &linear{}, fault: fault} },
			EncoderOptions{Capabilities: []string{clip.CapGroups, clip.CapEMA}, Only: []string{"rates", "average kept"}})
	}, map[string]string{
		"names no place":        "rates",
		"takes the last group":  "rates",
		"has no layers":         "rates",
		"decays nothing":        "rates",
		"starts from zero":      "average kept",
		"trains on the average": "average kept",
		"forgets the average":   "average kept",
	})
}
