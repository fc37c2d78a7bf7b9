package optim

import (
	"math"
	"testing"
)

// Values of OpenCLIP's cosine_lr, const_lr and const_lr_cooldown, evaluated by hand from their formulas.
func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s    Schedule
		want map[int]float64
	}{
		{Schedule{Kind: "cosine", Base: 1, WarmupSteps: 10, TotalSteps: 110},
			map[int]float64{0: .1, 4: .5, 9: 1, 10: 1, 60: .5, 35: 0.5 * (1 + math.Sqrt2/2), 110: 0, 500: 0}},
		{Schedule{Kind: "cosine", Base: 1, TotalSteps: 100, MinLR: .2}, map[int]float64{0: 1, 50: .6, 100: .2}},
		{Schedule{Kind: "linear", Base: 2, WarmupSteps: 2, TotalSteps: 12}, map[int]float64{0: 1, 1: 2, 2: 2, 7: 1, 11: .2, 12: 0}},
		{Schedule{Kind: "constant", Base: 3, WarmupSteps: 3, TotalSteps: 9}, map[int]float64{0: 1, 3: 3, 100: 3}},
		{Schedule{Kind: "cooldown", Base: 1, WarmupSteps: 2, TotalSteps: 12, CooldownSteps: 4}, map[int]float64{0: .5, 7: 1, 8: 1, 10: .5, 12: 0}},
	} {
		if err := c.s.Check(); err != nil {
			t.Fatal(err)
		}
		for step, want := range c.want {
			if got := c.s.At(step); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s at step %d: %v, want %v", c.s.Kind, step, got, want)
			}
		}
	}
}

func TestBadSchedulesAreRefused(t *testing.T) {
	for _, s := range []Schedule{
		{Kind: "step", Base: 1, TotalSteps: 1}, {Kind: "cosine", Base: -1, TotalSteps: 1}, {Kind: "cosine", Base: 1},
		{Kind: "cosine", Base: 1, TotalSteps: 1, MinLR: 2}, {Kind: "cooldown", Base: 1, TotalSteps: 10, WarmupSteps: 8, CooldownSteps: 3},
	} {
		if s.Check() == nil {
			t.Errorf("%+v passed", s)
		}
	}
}
