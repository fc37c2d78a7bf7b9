package measure

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"tandem/core/clip"
)

// traced writes spans and reads the events back.
func traced(t *testing.T, spans []span) []traceEvent {
	t.Helper()
	var out bytes.Buffer
	if err := writeTrace(&out, spans); err != nil {
		t.Fatal(err)
	}
	var trace struct{ TraceEvents []traceEvent }
	if err := json.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	return trace.TraceEvents
}

// Spans that nest share a lane; those that overlap go to lanes of their own.
func TestOverlappingSpansGetLanesOfTheirOwn(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(name string, from, to int) span {
		return span{process: "image", pid: 9, lane: "methods", name: name, start: noon.Add(time.Duration(from) * time.Microsecond), took: time.Duration(to-from) * time.Microsecond}
	}
	events := traced(t, []span{at("inner", 2, 5), at("outer", 0, 10), at("next", 10, 12), at("beside", 8, 11)})
	lanes, times := map[string]int{}, map[string]float64{}
	for _, e := range events {
		if e.Phase == "X" {
			lanes[e.Name], times[e.Name] = e.TID, e.Time
		}
	}
	if lanes["outer"] != lanes["inner"] || lanes["outer"] != lanes["next"] || lanes["beside"] == lanes["outer"] {
		t.Errorf("lanes %v", lanes)
	}
	if times["outer"] != 0 || times["inner"] != 2 || times["next"] != 10 {
		t.Errorf("the clock begins elsewhere: %v", times)
	}
	names := 0
	for _, e := range events {
		if e.Phase == "M" && e.Name == "process_name" {
			names++
		}
	}
	if names != 1 {
		t.Errorf("the process is named %d times", names)
	}
}

func TestATraceOfNothing(t *testing.T) {
	if events := traced(t, nil); events == nil || len(events) != 0 {
		t.Errorf("%v", events)
	}
}

func TestKernelsAreSummedAndHeldAgainstTheDevice(t *testing.T) {
	p := &StepProfile{PeakGFLOPS: 100, PeakGBs: 10}
	events := []clip.KernelRun{
		{Op: "linear", Scope: "mlp", FLOPs: 1e9, Bytes: 1e6, Duration: 20 * time.Millisecond},
		{Op: "linear", Scope: "attn", FLOPs: 1e9, Bytes: 1e6, Duration: 20 * time.Millisecond},
		{Op: "copy", Bytes: 1e8, Duration: 20 * time.Millisecond},
	}
	got := p.kernels(events, 0.5, 30, func(e clip.KernelRun) (string, string) { return e.Op, "forward" })
	if len(got) != 2 || got[0].Name != "linear" || got[1].Name != "copy" {
		t.Fatalf("%+v", got)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	linear, copied := got[0], got[1]
	if linear.Calls != 1 || !near(linear.MS, 20) || !near(linear.Share, 2.0/3) || !near(linear.GFLOP, 1) || !near(linear.FloorMS, 10) || !near(linear.FloorShare, .5) {
		t.Errorf("bound by operations: %+v", linear)
	}
	if !near(copied.MB, 50) || !near(copied.FloorMS, 5) {
		t.Errorf("bound by memory: %+v", copied)
	}
	layers := p.kernels(events, 1, 60, func(e clip.KernelRun) (string, string) { return e.Scope, "" })
	if len(layers) != 3 || layers[0].Name != "(no layer)" {
		t.Errorf("by layer: %+v", layers)
	}
}
