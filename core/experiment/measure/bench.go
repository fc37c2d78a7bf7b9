// Package measure says where the time and the memory of training go: Bench by parts of a step, Profile by
// kernels. It trains steps that count for nothing, and keeps nothing.
package measure

import (
	"context"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// StepCosts tells what the steps of a spec cost. Times are milliseconds, medians over the measured steps.
type StepCosts struct {
	Experiment string `json:"experiment"`
	Device     string `json:"device"`
	Threads    int    `json:"threads"`
	Steps      int    `json:"steps"`
	BatchSize  int    `json:"batch_size"`
	Parameters int64  `json:"parameters"`

	StepMS     float64 `json:"step_ms"`
	ImagesPerS float64 `json:"images_per_s"`
	// TogetherMS is the time of all measured steps as one, divided by their number; ImagesPerS is then by this. 0 where
	// the device's peak was measured between the steps.
	TogetherMS float64 `json:"together_ms,omitempty"`
	Breakdown  []Cost  `json:"breakdown"`
	// OverheadMS is the time of a step during which no plugin computed for it: waiting for data, the
	// wire, the trainer's own work, the store. OverheadShare is that over StepMS.
	OverheadMS    float64 `json:"overhead_ms"`
	OverheadShare float64 `json:"overhead_share"`

	// StepGFLOP is what the plugins computed in a step, in 10⁹ operations: matrix products,
	// convolutions and attention of the captions' real lengths, forward and backward, with what
	// accumulation computes twice; a multiply-add is two. GFLOPS is that over the step's time.
	StepGFLOP float64 `json:"step_gflop"`
	GFLOPS    float64 `json:"gflops"`
	// Uncounted are the parts, image, text or loss, whose plugin does not count its operations: they
	// are missing from StepGFLOP.
	Uncounted []string `json:"uncounted,omitempty"`
	// PeakGFLOPS is the device's rate of matrix products, the best that was measured before, between
	// and after the steps; 0: unknown.
	PeakGFLOPS float64 `json:"peak_gflops"`
	PeakShare  float64 `json:"peak_share"`

	Memory  []ProcessMemory `json:"memory"`
	Machine MachineState    `json:"machine"`
}

// Cost tells what one part of a step took. The parts that do not wait add up to the step, but for their being
// medians; when both towers compute at once a negative part takes away what is counted twice.
type Cost struct {
	Part    string  `json:"part"`
	MS      float64 `json:"ms"`
	Share   float64 `json:"share"`   // of the step
	Plugin  bool    `json:"plugin"`  // inside a plugin
	Waiting bool    `json:"waiting"` // beside the step, in the background
}

// Benching says what Bench measures.
type Benching struct {
	Warmup, Steps int
	// NoPeak leaves out measuring the device's peak, which waits for all work after every step: on a device that works
	// beside the host a step then ends without what nobody waits for, its optimiser, and the next one begins with it.
	NoPeak bool
}

// Bench trains warm-up steps and then measured steps of a spec and says where the time went. Nothing is
// evaluated, nothing is kept: what the store costs is measured on a database that is thrown away.
func Bench(ctx context.Context, c *catalog.Catalog, s *spec.Spec, how Benching, w Watcher) (*StepCosts, error) {
	program := process.Program()
	meter := &meter{warmup: how.Warmup}
	peak := &peak{}
	if !how.NoPeak {
		peak = openPeak(s)
	}
	defer peak.Close()
	r := rehearsal{catalog: c, spec: s, steps: how.Warmup + how.Steps, watch: w, observe: meter.observe}
	r.first = func() { peak.measureLong(w) }
	var before, after child.Load
	r.ready = func(m *assemble.Model, _ *store.DB) error {
		before = child.LoadNow()
		meter.Model, meter.before, meter.spans = m, pluginCounters(m), nil
		return nil
	}
	r.step = func(report train.StepReport) error {
		meter.add(report)
		peak.measureShort()
		return nil
	}
	var memory []ProcessMemory
	r.last = func(ctx context.Context, m *assemble.Model) (err error) {
		after = child.LoadNow()
		memory, err = pluginMemory(ctx, m)
		return err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	peak.measureLong(w)
	b := meter.costs(s, peak.gflops)
	b.Machine = machineState(before, after, meter.steps)
	if how.NoPeak {
		b.together(meter.last.Sub(meter.began))
	}
	b.Memory = append(memory, runnerMemory(program(), clip.MemoryPart{Name: "peak measurement", Bytes: peak.bytes}))
	return b, nil
}

// together notes the time of all measured steps as one.
func (b *StepCosts) together(took time.Duration) {
	if b.Steps == 0 || took <= 0 {
		return
	}
	b.TogetherMS = 1000 * took.Seconds() / float64(b.Steps)
	b.ImagesPerS = 1000 * float64(b.BatchSize) / b.TogetherMS
	b.GFLOPS = b.StepGFLOP / b.TogetherMS * 1000
}
