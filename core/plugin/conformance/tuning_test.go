package conformance

import (
	"context"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
)

// tunedLinear gives linear a start, rates that fall with its own count of steps, and adapters, which are as many
// parameters beside its own. It may break a rule.
type tunedLinear struct {
	*linear
	fault string
	start int
	still bool
}

func (l *tunedLinear) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	info, err := l.linear.Configure(ctx, c)
	if err != nil {
		return info, err
	}
	for _, g := range c.Optimizer.Groups {
		l.start = g.Start
	}
	a := c.LoRA
	if a == nil {
		return info, nil
	}
	switch {
	case a.Rank < 1 && l.fault != "takes any rank":
		return info, fault.New(fault.Invalid, "rank %d", a.Rank).WithPath("lora.rank")
	case slices.Contains(a.Targets, "no such parameter") && l.fault != "takes any target":
		return info, fault.New(fault.Invalid, "no parameter").WithPath("lora.targets")
	case l.fault == "begins elsewhere":
		l.w[0]++
	}
	l.still = l.fault == "trains nothing"
	if l.fault != "freezes nothing" {
		info.Frozen = info.Parameters
		info.Parameters *= 2
	}
	return info, nil
}

func (l *tunedLinear) Step(ctx context.Context, n int, lr, scale float64) error {
	if n <= l.start && l.fault != "starts at once" || l.still {
		clear(l.g)
		return nil
	}
	if l.fault != "counts from the first step" {
		n -= l.start
	}
	return l.linear.Step(ctx, n, lr/float64(max(n, 1)), scale)
}

func TestEveryRuleOfTuningCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &tunedLinear{linear: &linear{}, fault: fault} },
			EncoderOptions{Capabilities: []string{clip.CapStart, clip.CapLoRA}, Only: []string{"late start", "adapters"}})
	}, map[string]string{
		"starts at once":             "late start",
		"counts from the first step": "late start",
		"begins elsewhere":           "adapters",
		"trains nothing":             "adapters",
		"freezes nothing":            "adapters",
		"takes any rank":             "adapters",
		"takes any target":           "adapters",
	})
}
