package measure

import (
	"strings"
	"testing"
	"time"

	"tandem/core/plugin/child"
)

func TestSpreadIsThatOfTheQuartiles(t *testing.T) {
	var steps []measured
	for _, ms := range []int{100, 500, 110, 90, 100, 100, 120, 100} { // one bad step is no spread
		steps = append(steps, measured{wall: time.Duration(ms) * time.Millisecond})
	}
	if got := spread(steps); got < 0.199 || got > 0.201 {
		t.Errorf("spread %g, want 0.2", got)
	}
	if got := spread(steps[:3]); got != 0 {
		t.Errorf("of three steps: %g", got)
	}
}

func TestABusyMachineIsSaid(t *testing.T) {
	m := MachineState{Known: true, OthersShare: 0.43, LoadAverage: 5.25, Processors: 2, Busy: true}
	if w := m.Warning(); !strings.Contains(w, "43 % of its 2 processors") || !strings.Contains(w, "5.2") {
		t.Errorf("%q", w)
	}
	if w := (MachineState{Known: true, OthersShare: 0.01}).Warning(); w != "" {
		t.Errorf("of an idle machine: %q", w)
	}
	if m := machineState(child.Load{}, child.Load{}, nil); m.Known || m.Busy || m.Warning() != "" {
		t.Errorf("of a system that does not tell: %+v", m)
	}
}
