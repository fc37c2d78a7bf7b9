package measure

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/train"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// watcher counts what it is told.
type watcher struct {
	began, steps int
}

func (w *watcher) Doing(string)           {}
func (w *watcher) Event(string, string)   {}
func (w *watcher) Began(assemble.Summary) { w.began++ }
func (w *watcher) Step(train.StepReport)  { w.steps++ }

func TestBenchTellsEveryPartOfAStep(t *testing.T) {
	l, w := labtest.New(t), &watcher{}
	c, err := Bench(t.Context(), l.Catalog, labtest.Spec(t, l), Benching{Warmup: 1, Steps: 3}, w)
	labtest.Must(t, err)
	if w.began != 1 || w.steps != 4 || c.Steps != 3 || c.BatchSize != 8 || c.Threads != 1 || c.Parameters != 9 || c.Device != "plain" {
		t.Errorf("%d steps seen; %+v", w.steps, c)
	}
	var parts []string
	for _, x := range c.Breakdown {
		parts = append(parts, x.Part)
	}
	for _, want := range []string{"image forward", "image backward", "image step", "text forward", "loss", "data wait", "store", "wire and trainer", "data, in the background"} {
		if !slices.Contains(parts, want) {
			t.Errorf("no part %q in %v", want, parts)
		}
	}
	if c.StepMS <= 0 || c.OverheadMS > c.StepMS {
		t.Errorf("a step of %g ms, of which %g not in a plugin", c.StepMS, c.OverheadMS)
	}
	// The towers count their work, the loss does not: one operation a value, forward.
	if want := 2 * 8 * 4 / 1e9; c.StepGFLOP != want || !slices.Equal(c.Uncounted, []string{"loss"}) {
		t.Errorf("%g GFLOP a step, want %g; uncounted %v", c.StepGFLOP, want, c.Uncounted)
	}
	var memory []string
	for _, p := range c.Memory {
		memory = append(memory, p.Part)
	}
	if want := []string{"image", "text", "loss", "data.train", "eval.dots", "runner"}; !slices.Equal(memory, want) {
		t.Errorf("memory of %v", memory)
	}
	if _, err := os.Stat(l.DB); err == nil {
		t.Error("a bench made a database")
	}
}

// Without the peak all measured steps are timed as one, and only they: no step can take longer than all of them.
func TestStepsAreTimedAsOne(t *testing.T) {
	l := labtest.New(t)
	for _, warmup := range []int{0, 2} {
		c, err := Bench(t.Context(), l.Catalog, labtest.Spec(t, l), Benching{Warmup: warmup, Steps: 4, NoPeak: true}, &watcher{})
		labtest.Must(t, err)
		if c.TogetherMS <= 0 || c.PeakGFLOPS != 0 || c.ImagesPerS != 8*1000/c.TogetherMS || 4*c.TogetherMS < c.StepMS/2 {
			t.Errorf("after %d steps: %+v", warmup, c)
		}
	}
	c, err := Bench(t.Context(), l.Catalog, labtest.Spec(t, l), Benching{Warmup: 1, Steps: 2}, &watcher{})
	labtest.Must(t, err)
	if c.TogetherMS != 0 {
		t.Errorf("with the peak measured between them, steps are timed as one: %g ms", c.TogetherMS)
	}
}

func TestProfileCountsCalls(t *testing.T) {
	l := labtest.New(t)
	p, err := Profile(t.Context(), l.Catalog, labtest.Spec(t, l, "train.micro_batch_size=4"), 1, 2, &watcher{})
	labtest.Must(t, err)
	if p.Steps != 2 || len(p.Parts) != 3 || p.Parts[0].Plugin != "encoders/tint" || p.StepMS <= 0 {
		t.Fatalf("%+v", p)
	}
	calls := map[string]float64{}
	for _, c := range p.Parts[0].Methods {
		calls[c.Method] = c.Calls
	}
	if calls["Forward"] != 4 || calls["Backward"] != 2 || calls["Step"] != 1 { // two micro-batches, each embedded and then trained
		t.Errorf("calls a step: %v", calls)
	}
	var out bytes.Buffer
	labtest.Must(t, p.WriteTrace(&out))
	var trace struct{ TraceEvents []traceEvent }
	labtest.Must(t, json.Unmarshal(out.Bytes(), &trace))
	steps := 0
	for _, e := range trace.TraceEvents {
		if e.Phase == "X" && (e.Name == "step 2" || e.Name == "step 3") {
			steps++
		}
	}
	if steps != 2 {
		t.Errorf("%d steps in the trace", steps)
	}
}

// A function of a rehearsal that fails ends it, with its own error.
func TestARehearsalEndsWithTheErrorOfItsFunctions(t *testing.T) {
	l := labtest.New(t)
	own := errors.New("enough")
	r := rehearsal{catalog: l.Catalog, spec: labtest.Spec(t, l), steps: 1000, watch: &watcher{},
		ready: func(*assemble.Model, *store.DB) error { return nil },
		step: func(r train.StepReport) error {
			if r.Step == 2 {
				return own
			}
			return nil
		}}
	if err := r.run(t.Context()); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
	r.ready = func(*assemble.Model, *store.DB) error { return own }
	if err := r.run(t.Context()); !errors.Is(err, own) {
		t.Errorf("when it is ready: %v", err)
	}
}

func TestThePlanOfAProcess(t *testing.T) {
	parts := []clip.MemoryPart{{Name: "parameters", Bytes: 100}, {Name: "activations", Bytes: 50}}
	onCPU := ProcessMemory{Shared: 7}
	onCPU.plan(parts, 1000)
	if onCPU.Planned != 1157 || len(onCPU.Plan) != 4 || onCPU.Plan[2].Name != "shared" || onCPU.Plan[3].Bytes != 1000 {
		t.Errorf("on a CPU: %+v", onCPU)
	}
	onGPU := ProcessMemory{Device: "cuda:0", Shared: 7}
	onGPU.plan(parts, 1000)
	if onGPU.Planned != 1007 {
		t.Errorf("what lies on a GPU counts as the process's: %+v", onGPU)
	}
	silent := ProcessMemory{Shared: 7}
	silent.plan(parts, 0)
	if silent.Planned != 0 || silent.Plan != nil {
		t.Errorf("of a plugin that says nothing: %+v", silent)
	}
	if me := runnerMemory(process.Program()()); me.Part != "runner" || me.PID != os.Getpid() {
		t.Errorf("of this process: %+v", me)
	}
}
