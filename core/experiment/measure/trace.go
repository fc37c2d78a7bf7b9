package measure

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/plugin/process"
)

// A span took time in one process. Spans of one lane nest, they do not overlap.
type span struct {
	process string // image (encoders/vit); runner
	pid     int    // 0: the runner's
	lane    string
	name    string
	start   time.Time
	took    time.Duration
	args    map[string]any
}

// spans lists what happened in all processes.
func (p *profiler) spans() []span {
	list := slices.Clone(p.writes)
	// A step: waiting for data comes first and recording last; what is between shows in the calls.
	for _, s := range p.steps {
		wall := s.Duration + s.Phases[train.PhaseRecord]
		start := s.end.Add(-wall)
		add := func(name string, start time.Time, took time.Duration, args map[string]any) {
			list = append(list, span{process: "runner", lane: "step", name: name, start: start, took: took, args: args})
		}
		add(fmt.Sprintf("step %d", s.Step), start, wall, map[string]any{"loss": s.Loss})
		add("wait for data", start, s.Phases[train.PhaseData], nil)
		add("record", s.end.Add(-s.Phases[train.PhaseRecord]), s.Phases[train.PhaseRecord], nil)
	}
	// Plugins that one process serves have a lane each.
	label := func(role string) (name, lane string) {
		x := p.model.Processes[role]
		if x.Colocated() {
			return process.ColocatedLabel, fmt.Sprintf("methods of %s (%s)", role, x.Name())
		}
		return fmt.Sprintf("%s (%s)", role, x.Name()), "methods"
	}
	for _, c := range p.calls {
		if p.model.Processes[c.Label] == nil {
			continue
		}
		list = append(list, span{process: "runner", lane: "calls of " + c.Label, name: c.Method, start: c.Start, took: c.Client})
		if c.Failed || c.Inside.IsZero() {
			continue
		}
		of, lane := label(c.Label)
		inside := span{process: of, pid: p.model.Processes[c.Label].PID(), lane: lane, name: c.Method, start: c.Inside, took: c.Server}
		if c.Work > 0 {
			inside.args = map[string]any{"gflop": c.Work / 1e9}
		}
		list = append(list, inside)
	}
	for role, events := range p.events {
		of, lane := label(role)
		for _, e := range events {
			args := map[string]any{"layer": e.Scope, "pass": "forward", "mb": e.Bytes / 1e6}
			if e.Backward {
				args["pass"] = "backward"
			}
			if e.FLOPs > 0 {
				args["gflop"] = e.FLOPs / 1e9
				if e.Duration > 0 {
					args["gflop/s"] = e.FLOPs / e.Duration.Seconds() / 1e9
				}
			}
			// Kernels run inside methods, in the same lane.
			list = append(list, span{process: of, pid: p.model.Processes[role].PID(), lane: lane, name: e.Op, start: e.Start, took: e.Duration, args: args})
		}
	}
	return list
}

// A traceEvent holds an event of the trace event format (Google, "Trace Event Format", 2016): a complete event X
// with its time in microseconds, or metadata M.
type traceEvent struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	Time  float64        `json:"ts"`
	Took  float64        `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// writeTrace writes spans on one clock that begins with the first. Spans of a lane that overlap, such
// as batches that are made at once, go to further lanes of the same name.
func writeTrace(w io.Writer, spans []span) error {
	spans = slices.Clone(spans)
	for i := range spans {
		if spans[i].pid == 0 {
			spans[i].pid = os.Getpid()
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		return cmp.Or(a.start.Compare(b.start), cmp.Compare(b.took, a.took)) // the outer one first
	})
	type place struct {
		pid  int
		lane string
	}
	type lane struct {
		tid  int
		open []time.Time // ends of the spans that enclose the next, the innermost last
	}
	lanes := map[place][]*lane{}
	tids := map[int]int{}
	events := []traceEvent{}
	meta := func(name string, pid, tid int, value string) {
		events = append(events, traceEvent{Name: name, Phase: "M", PID: pid, TID: tid, Args: map[string]any{"name": value}})
	}
	for _, s := range spans {
		end := s.start.Add(s.took)
		at := place{s.pid, s.lane}
		var found *lane
		for _, l := range lanes[at] {
			for len(l.open) > 0 && !l.open[len(l.open)-1].After(s.start) {
				l.open = l.open[:len(l.open)-1]
			}
			if len(l.open) == 0 || !end.After(l.open[len(l.open)-1]) {
				found = l
				break
			}
		}
		if found == nil {
			if tids[s.pid] == 0 {
				meta("process_name", s.pid, 0, s.process)
			}
			tids[s.pid]++
			found = &lane{tid: tids[s.pid]}
			lanes[at] = append(lanes[at], found)
			meta("thread_name", s.pid, found.tid, s.lane)
		}
		found.open = append(found.open, end)
		events = append(events, traceEvent{Name: s.name, Phase: "X", PID: s.pid, TID: found.tid, Args: s.args,
			Time: float64(s.start.Sub(spans[0].start).Nanoseconds()) / 1e3, Took: float64(s.took.Nanoseconds()) / 1e3})
	}
	err := json.NewEncoder(w).Encode(map[string]any{"displayTimeUnit": "ms", "traceEvents": events})
	if err != nil {
		return fault.New(fault.Unavailable, "trace: %w", err)
	}
	return nil
}
