package measure

import (
	"fmt"
	"slices"

	"tandem/core/plugin/child"
)

// MachineState tells what else the machine did while steps were measured. On a machine that is busy, times are too long.
type MachineState struct {
	// Known is false where the system does not tell, or the steps took too little time. OthersShare and Busy then say nothing.
	Known bool `json:"known"`
	// OthersShare is the share of the processors' time that other programs took during the steps, warm-up included, from 0 to 1.
	OthersShare float64 `json:"others_share"`
	// LoadAverage is that of the minute before the first step.
	LoadAverage float64 `json:"load_average"`
	Processors  int     `json:"processors"` // that the runner may use
	// StepSpread is the distance from the first to the third quartile of the steps' times, over their median.
	StepSpread float64 `json:"step_spread"`
	Busy       bool    `json:"busy"` // OthersShare is above BusyShare
}

// BusyShare is the share of the processors' time from which on other programs make a measurement doubtful.
const BusyShare = 0.05

func machineState(before, after child.Load, steps []measured) MachineState {
	m := MachineState{LoadAverage: before.Average(), Processors: after.Processors(), StepSpread: spread(steps)}
	m.OthersShare, m.Known = after.OthersSince(before)
	m.Busy = m.Known && m.OthersShare > BusyShare
	return m
}

// spread returns the distance between the quartiles of the steps' times over their median; 0 for fewer than four steps.
func spread(steps []measured) float64 {
	if len(steps) < 4 {
		return 0
	}
	times := make([]float64, len(steps))
	for i, s := range steps {
		times[i] = s.wall.Seconds()
	}
	slices.Sort(times)
	n := len(times)
	return (times[3*n/4] - times[n/4]) / times[n/2]
}

// Warning returns a sentence that says that the machine was busy; "" where it was not, or nobody knows.
func (m MachineState) Warning() string {
	if !m.Busy {
		return ""
	}
	return fmt.Sprintf("the machine was busy: other programs took %.0f %% of its %d processors during these steps (load average of the minute before: %.1f); "+
		"the figures are too low, measure on an idle machine", 100*m.OthersShare, m.Processors, m.LoadAverage)
}
