package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tandem/core/device/devices"
	"tandem/core/fault"
	"tandem/core/spec"
	"tandem/core/store"
	"tandem/core/train"
)

// Bench is what the steps of a spec cost. Times are milliseconds, medians over the measured steps.
type Bench struct {
	Experiment string `json:"experiment"`
	Device     string `json:"device"`
	Threads    int    `json:"threads"`
	Steps      int    `json:"steps"`
	BatchSize  int    `json:"batch_size"`
	Parameters int64  `json:"parameters"`

	StepMS     float64 `json:"step_ms"`
	ImagesPerS float64 `json:"images_per_s"`
	Breakdown  []Cost  `json:"breakdown"`
	// OverheadMS is the time of a step during which no plugin computed for it: waiting for data, the
	// wire, the trainer's own work, the store. OverheadShare is that over StepMS.
	OverheadMS    float64 `json:"overhead_ms"`
	OverheadShare float64 `json:"overhead_share"`

	// StepGFLOP is the model's work in a step, 10⁹ operations: forward once, backward twice as much;
	// what accumulation computes again is not counted.
	StepGFLOP  float64 `json:"step_gflop"`
	GFLOPS     float64 `json:"gflops"`
	PeakGFLOPS float64 `json:"peak_gflops"` // measured matrix product rate of the device; 0: unknown
	PeakShare  float64 `json:"peak_share"`
}

// Cost is one part of a step. Parts overlap when both towers compute at once: they do not add up.
type Cost struct {
	Part    string  `json:"part"`
	MS      float64 `json:"ms"`
	Share   float64 `json:"share"`   // of the step
	Plugin  bool    `json:"plugin"`  // inside a plugin
	Waiting bool    `json:"waiting"` // beside the step, in the background
}

// Bench trains warmup and then steps steps of a spec and says where the time went. Nothing is
// evaluated, nothing is kept: what the store costs is measured on a database that is thrown away.
func (l Lab) Bench(ctx context.Context, s *spec.Spec, warmup, steps int, w Watcher) (_ *Bench, err error) {
	if err := refuseAblate(s); err != nil {
		return nil, err
	}
	used, err := l.plugins(s)
	if err != nil {
		return nil, err
	}
	w.Doing("measuring the peak")
	peak := peakGFLOPS(s)
	w.Doing("")
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%w", err)
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(filepath.Join(dir, "bench.db"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rec, err := db.Begin(ctx, meta(s, used))
	if err != nil {
		return nil, err
	}
	m, err := l.open(ctx, s, "", true, w)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	m.begin.Steps, m.begin.ID = warmup+steps, ""
	meter := &meter{model: m, before: m.stats(), warmup: warmup}
	t, err := meter.trainer(s, rec, w)
	if err != nil {
		return nil, err
	}
	w.Began(m.begin)
	if _, err := t.Run(ctx, nil); err != nil {
		return nil, err
	}
	return meter.bench(s, peak), nil
}

// peakGFLOPS is 0 where the device cannot be measured from here.
func peakGFLOPS(s *spec.Spec) float64 {
	b, err := devices.Open(s.Device, threads(s)[roleImage])
	if err != nil {
		return 0
	}
	peak, err := devices.PeakGFLOPS(b)
	if errors.Join(err, b.Close()) != nil {
		return 0
	}
	return peak
}

// meter takes the plugins' counters apart step by step.
type meter struct {
	*model
	before map[string]time.Duration
	warmup int
	steps  []measured
}

// measured is one step: its parts as durations.
type measured struct {
	wall     time.Duration
	phases   [train.Phases]time.Duration
	inside   map[string]time.Duration // "image Forward" → time inside the plugin
	overhead time.Duration
}

func (m *meter) trainer(s *spec.Spec, rec *store.Run, w Watcher) (*train.Trainer, error) {
	t := s.Train
	return train.New(train.Config{
		Steps: m.begin.Steps, BatchSize: t.BatchSize, MicroBatchSize: t.MicroBatchSize, Samples: m.begin.Data.Len, Seed: s.Seed,
		Shuffle: s.Data.Train.Shuffle, LR: func(int) float64 { return t.LR * 1e-3 }, MaxGradNorm: t.MaxGradNorm,
		Parallel: t.ParallelTowers, LogEvery: t.LogEvery, Prefetch: s.Data.Prefetch,
	}, m.Parts, rec, train.Hooks{Step: func(r train.StepReport) { m.add(r, s.Train.ParallelTowers); w.Step(r) }})
}

// stats are the counters of all plugins: role and method → time inside.
func (m *model) stats() map[string]time.Duration {
	out := map[string]time.Duration{}
	for role, p := range m.byRole {
		for _, s := range p.Stats() {
			out[role+" "+s.Method] = s.Server
		}
	}
	return out
}

func (m *meter) add(r train.StepReport, parallel bool) {
	now := m.stats()
	before := m.before
	m.before = now
	if r.Step <= m.warmup {
		return
	}
	x := measured{wall: r.Duration + r.Phases[train.PhaseRecord], phases: r.Phases, inside: map[string]time.Duration{}}
	for k, v := range now {
		x.inside[k] = v - before[k]
	}
	// What computed during each phase: at once, the longest counts; in turn, the sum.
	computed := time.Duration(0)
	for _, phase := range []struct {
		method string
		roles  []string
	}{
		{"Forward", []string{roleImage, roleText}}, {"Compute", []string{roleLoss}}, {"Backward", []string{roleImage, roleText}},
		{"GradNorm", []string{roleImage, roleText, roleLoss}}, {"Step", []string{roleImage, roleText, roleLoss}},
	} {
		var sum, longest time.Duration
		for _, role := range phase.roles {
			d := x.inside[role+" "+phase.method]
			sum, longest = sum+d, max(longest, d)
		}
		if parallel {
			sum = longest
		}
		computed += sum
	}
	x.overhead = x.wall - computed
	m.steps = append(m.steps, x)
}

// bench is the medians of what was measured.
func (m *meter) bench(s *spec.Spec, peak float64) *Bench {
	median := func(of func(measured) time.Duration) float64 {
		values := make([]float64, len(m.steps))
		for i, x := range m.steps {
			values[i] = of(x).Seconds() * 1000
		}
		slices.Sort(values)
		n := len(values)
		if n == 0 {
			return 0
		}
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	b := &Bench{
		Experiment: s.Name, Device: deviceText(s, m.begin.Image), Threads: threads(s)[roleImage], Steps: len(m.steps),
		BatchSize: s.Train.BatchSize, Parameters: m.begin.Parameters(), PeakGFLOPS: peak,
		StepMS:     median(func(x measured) time.Duration { return x.wall }),
		OverheadMS: median(func(x measured) time.Duration { return x.overhead }),
		StepGFLOP:  3 * float64(s.Train.BatchSize) * (m.begin.Image.FLOPs + m.begin.Text.FLOPs) / 1e9,
	}
	if b.StepMS == 0 {
		return b
	}
	b.OverheadShare = b.OverheadMS / b.StepMS
	b.ImagesPerS = 1000 * float64(b.BatchSize) / b.StepMS
	b.GFLOPS = b.StepGFLOP / b.StepMS * 1000
	if peak > 0 {
		b.PeakShare = b.GFLOPS / peak
	}
	add := func(part string, inside bool, of func(measured) time.Duration) {
		ms := median(of)
		b.Breakdown = append(b.Breakdown, Cost{Part: part, MS: ms, Share: ms / b.StepMS, Plugin: inside})
	}
	for _, role := range []string{roleImage, roleText} {
		for _, part := range [][2]string{{"Forward", "forward"}, {"Backward", "backward"}, {"GradNorm", "grad norm"}, {"Step", "step"}} {
			add(role+" "+part[1], true, func(x measured) time.Duration { return x.inside[role+" "+part[0]] })
		}
	}
	add("loss", true, func(x measured) time.Duration {
		return x.inside[roleLoss+" Compute"] + x.inside[roleLoss+" GradNorm"] + x.inside[roleLoss+" Step"]
	})
	add("data wait", false, func(x measured) time.Duration { return x.phases[train.PhaseData] })
	add("store", false, func(x measured) time.Duration { return x.phases[train.PhaseRecord] })
	add("wire and trainer", false, func(x measured) time.Duration {
		return x.overhead - x.phases[train.PhaseData] - x.phases[train.PhaseRecord]
	})
	add("data, in the background", true, func(x measured) time.Duration { return x.inside[roleData+" Batch"] })
	b.Breakdown[len(b.Breakdown)-1].Waiting = true
	return b
}
