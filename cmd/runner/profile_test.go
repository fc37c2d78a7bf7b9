package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// profiled reads what runner profile --json prints.
type profiled struct {
	StepMS     float64 `json:"step_ms"`
	PeakGFLOPS float64 `json:"peak_gflops"`
	PeakGBs    float64 `json:"peak_gb_s"`
	Parts      []struct {
		Part     string   `json:"part"`
		MS       float64  `json:"ms"`
		KernelMS float64  `json:"kernel_ms"`
		Ops      []kernel `json:"ops"`
		Layers   []kernel `json:"layers"`
	} `json:"parts"`
}

type kernel struct {
	Name    string  `json:"name"`
	Pass    string  `json:"pass"`
	Calls   float64 `json:"calls"`
	MS      float64 `json:"ms"`
	Share   float64 `json:"share"`
	GFLOP   float64 `json:"gflop"`
	MB      float64 `json:"mb"`
	FloorMS float64 `json:"floor_ms"`
}

type trace struct {
	Events []struct {
		Name  string         `json:"name"`
		Phase string         `json:"ph"`
		Time  float64        `json:"ts"`
		Took  float64        `json:"dur"`
		PID   int            `json:"pid"`
		TID   int            `json:"tid"`
		Args  map[string]any `json:"args"`
	} `json:"traceEvents"`
}

func profile(t *testing.T, dir string, args ...string) (p profiled, tr trace) {
	t.Helper()
	out := must(t, dir, append([]string{"profile", "tiny.yaml", "--json", "-o", "trace.json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "trace.json"))
	if err == nil {
		err = json.Unmarshal(text, &tr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, tr
}

// A profile names operations and layers of both towers and the loss, and its trace has all processes
// on one clock, what happens inside another in its time.
func TestProfile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	p, tr := profile(t, dir, "--steps", "4", "--warmup", "0")
	if p.StepMS <= 0 || p.PeakGFLOPS <= 0 || p.PeakGBs <= 0 || len(p.Parts) != 3 {
		t.Fatalf("%+v", p)
	}
	for _, part := range p.Parts {
		for by, list := range map[string][]kernel{"operation": part.Ops, "layer": part.Layers} {
			ms, share := 0.0, 0.0
			for _, k := range list {
				if k.Calls <= 0 || k.MS < 0 || k.FloorMS < 0 {
					t.Errorf("%s: %+v", part.Part, k)
				}
				ms, share = ms+k.MS, share+k.Share
			}
			if share < .999 || share > 1.001 || ms < .999*part.KernelMS || ms > 1.001*part.KernelMS {
				t.Errorf("%s by %s: %g of %g ms, shares sum to %g", part.Part, by, ms, part.KernelMS, share)
			}
		}
		if part.KernelMS <= 0 || part.KernelMS > part.MS {
			t.Errorf("%s: %g ms in kernels, %g inside", part.Part, part.KernelMS, part.MS)
		}
		if !slices.ContainsFunc(part.Ops, func(k kernel) bool { return k.Pass == "backward" && k.GFLOP > 0 && k.MB > 0 }) {
			t.Errorf("%s: no product in the backward pass: %+v", part.Part, part.Ops)
		}
		if part.Part != "loss" && !slices.ContainsFunc(part.Layers, func(k kernel) bool { return strings.Contains(k.Name, "resblocks.0") }) {
			t.Errorf("%s: no block among %+v", part.Part, part.Layers)
		}
	}

	processes, names := map[int]string{}, map[string]int{}
	type interval struct{ from, to float64 }
	var steps []interval
	inside := map[string][]interval{}
	for _, e := range tr.Events {
		if e.Phase == "M" {
			if e.Name == "process_name" {
				processes[e.PID] = e.Args["name"].(string)
			}
			continue
		}
		names[e.Name]++
		span := interval{e.Time, e.Time + e.Took}
		if strings.HasPrefix(e.Name, "step ") {
			steps = append(steps, span)
		}
		if process := processes[e.PID]; process != "runner" && e.Name == "Forward" {
			inside[process] = append(inside[process], span)
		}
	}
	if len(processes) != 5 {
		t.Errorf("processes are %v, want runner, data, two towers and loss", processes)
	}
	for _, want := range []string{"wait for data", "record", "Forward", "Backward", "Compute", "Step", "Batch", "linear", "prepare"} {
		if names[want] == 0 {
			t.Errorf("the trace has no %q: %v", want, names)
		}
	}
	if len(steps) != 4 || len(inside) != 2 {
		t.Errorf("%d steps, forward passes in %d processes", len(steps), len(inside))
	}
	const tolerance = 200 // µs, for the clocks
	for process, spans := range inside {
		for _, s := range spans {
			if !slices.ContainsFunc(steps, func(step interval) bool { return s.from >= step.from-tolerance && s.to <= step.to+tolerance }) {
				t.Errorf("%s: forward %v is in none of the steps %v", process, s, steps)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); err == nil {
		t.Error("profile left results")
	}

	// The profiler changes no bit: the loss of the last step is that of steps without it.
	_, late := profile(t, dir, "--steps", "1", "--warmup", "3")
	if with, without := lossOf(tr, "step 4"), lossOf(late, "step 4"); with == 0 || with != without {
		t.Errorf("after three steps with the profiler the loss is %v, without %v", with, without)
	}
}

func lossOf(tr trace, step string) float64 {
	for _, e := range tr.Events {
		if e.Name == step {
			return e.Args["loss"].(float64)
		}
	}
	return 0
}

// bench --memory explains the memory of every process: what it planned is what the system measured, but
// for a fifth (a tenth on a quiet machine).
func TestBenchMemory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	var b struct {
		Memory []struct {
			Part          string
			Planned, Peak int64
			Plan          []struct {
				Part  string
				Bytes int64
			}
		}
	}
	// A peak depends on when the collector ran, so the median of three measurements is held.
	ratios := map[string][]float64{}
	for range 3 {
		b.Memory = nil
		if err := json.Unmarshal([]byte(must(t, dir, "bench", "tiny.yaml", "--memory", "--json", "--steps", "2", "--warmup", "1")), &b); err != nil {
			t.Fatal(err)
		}
		for _, p := range b.Memory {
			ratios[p.Part] = append(ratios[p.Part], float64(p.Planned)/float64(p.Peak))
		}
	}
	seen := map[string]bool{}
	for _, p := range b.Memory {
		seen[p.Part] = true
		of := slices.Sorted(slices.Values(ratios[p.Part]))
		if ratio := of[len(of)/2]; !(ratio > .8 && ratio < 1.2) {
			t.Errorf("%s: planned for %.2f of the peak, in the median of %.2f", p.Part, ratio, of)
		}
		if p.Part != "image" && p.Part != "text" {
			continue
		}
		plan := map[string]int64{}
		for _, m := range p.Plan {
			plan[m.Part] = m.Bytes
		}
		if plan["parameters"] == 0 || plan["gradients"] != plan["parameters"] || plan["optimizer"] != 2*plan["parameters"] ||
			plan["activations"] == 0 || plan["workspace"] == 0 || plan["program"] == 0 {
			t.Errorf("%s: the plan is %v", p.Part, plan)
		}
	}
	for _, want := range []string{"image", "text", "loss", "data.train", "eval.emoji", "runner"} {
		if !seen[want] {
			t.Errorf("no memory of %s", want)
		}
	}
	if out := must(t, dir, "bench", "tiny.yaml", "--memory", "--steps", "1", "--warmup", "0"); !strings.Contains(out, "activations") || !strings.Contains(out, "measured peak") {
		t.Errorf("the table is\n%s", out)
	}
}

// bench carries everything that it prints as JSON too.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	var b struct {
		StepMS     float64 `json:"step_ms"`
		ImagesPerS float64 `json:"images_per_s"`
		Parameters int64   `json:"parameters"`
		OverheadMS float64 `json:"overhead_ms"`
		PeakGFLOPS float64 `json:"peak_gflops"`
		PeakShare  float64 `json:"peak_share"`
		StepGFLOP  float64 `json:"step_gflop"`
		Steps      int     `json:"steps"`
		Machine    struct {
			Processors  int     `json:"processors"`
			OthersShare float64 `json:"others_share"`
		} `json:"machine"`
		Breakdown []struct {
			Part    string  `json:"part"`
			MS      float64 `json:"ms"`
			Waiting bool    `json:"waiting"`
		} `json:"breakdown"`
	}
	if err := json.Unmarshal([]byte(must(t, dir, "bench", "tiny.yaml", "--json", "--steps", "4", "--warmup", "1")), &b); err != nil {
		t.Fatal(err)
	}
	if b.StepMS <= 0 || b.ImagesPerS <= 0 || b.Parameters == 0 || b.Steps != 4 || b.PeakGFLOPS <= 0 || b.OverheadMS <= 0 {
		t.Errorf("%+v", b)
	}
	if b.StepGFLOP <= 0 || b.PeakShare <= 0 {
		t.Errorf("%g GFLOP a step, %g of the peak", b.StepGFLOP, b.PeakShare)
	}
	if m := b.Machine; runtime.GOOS == "linux" && m.Processors == 0 || m.OthersShare < 0 || m.OthersShare > 1 {
		t.Errorf("of the machine: %+v", m)
	}
	// How the times compare is no matter here: medians of few steps on a busy machine compare as they like.
	parts := map[string]bool{}
	for _, c := range b.Breakdown {
		parts[c.Part] = true
		if strings.HasSuffix(c.Part, "ward") && c.MS <= 0 {
			t.Errorf("%s took %g ms", c.Part, c.MS)
		}
	}
	if len(parts) < 5 || len(parts) != len(b.Breakdown) {
		t.Errorf("the parts are %+v", b.Breakdown)
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); err == nil {
		t.Error("bench left results")
	}
}
