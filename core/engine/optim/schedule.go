package optim

import (
	"math"
	"slices"
	"strings"

	"tandem/core/fault"
)

// A Schedule gives the learning rate of each step. All kinds rise linearly for WarmupSteps,
//
//	Base·(step + 1)/WarmupSteps
//
// and then follow, with e steps gone of the s that remain,
//
//	cosine    MinLR + (Base − MinLR)·½(1 + cos(π·e/s)), s = TotalSteps − WarmupSteps
//	linear    MinLR + (Base − MinLR)·(1 − e/s), s as for cosine
//	constant  Base
//	cooldown  Base until CooldownSteps before the end, then linear over those
//
// With MinLR 0, cosine, constant and cooldown are those of OpenCLIP. After TotalSteps the last value stays.
type Schedule struct {
	Kind          string
	Base          float64 // the peak
	WarmupSteps   int
	TotalSteps    int // warm-up included
	MinLR         float64
	CooldownSteps int // of cooldown
}

// Kinds lists the schedules.
var Kinds = []string{"cosine", "linear", "constant", "cooldown"}

// Check says what is wrong with a schedule: fault.Invalid with the field's path, or nil.
func (s Schedule) Check() error {
	invalid := func(path, format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithPath(path)
	}
	switch {
	case !slices.Contains(Kinds, s.Kind):
		return invalid("kind", "there is no schedule %q, choose one of %s", s.Kind, strings.Join(Kinds, ", "))
	case !(s.Base >= 0) || math.IsInf(s.Base, 0):
		return invalid("base", "%v, want 0 or more", s.Base)
	case !(s.MinLR >= 0) || s.MinLR > s.Base:
		return invalid("min_lr", "%v, want between 0 and the base of %v", s.MinLR, s.Base)
	case s.WarmupSteps < 0:
		return invalid("warmup_steps", "%d, want 0 or more", s.WarmupSteps)
	case s.TotalSteps < 1:
		return invalid("total_steps", "%d, want at least 1", s.TotalSteps)
	case s.Kind == "cooldown" && (s.CooldownSteps < 1 || s.CooldownSteps > s.TotalSteps-s.WarmupSteps):
		return invalid("cooldown_steps", "%d, want between 1 and the %d steps after the warm-up", s.CooldownSteps, s.TotalSteps-s.WarmupSteps)
	}
	return nil
}

// At returns the learning rate of a step, counted from 0.
func (s Schedule) At(step int) float64 {
	if step < s.WarmupSteps {
		return s.Base * float64(step+1) / float64(s.WarmupSteps)
	}
	switch s.Kind {
	case "cosine":
		return s.MinLR + (s.Base-s.MinLR)*0.5*(1+math.Cos(math.Pi*progress(step, s.WarmupSteps, s.TotalSteps)))
	case "linear":
		return s.MinLR + (s.Base-s.MinLR)*(1-progress(step, s.WarmupSteps, s.TotalSteps))
	case "cooldown":
		return s.MinLR + (s.Base-s.MinLR)*(1-progress(step, s.TotalSteps-s.CooldownSteps, s.TotalSteps))
	}
	return s.Base
}

// progress returns how far step has come from start to end, in [0, 1].
func progress(step, start, end int) float64 {
	if step <= start {
		return 0
	}
	return math.Min(1, float64(step-start)/float64(max(end-start, 1)))
}
