package run

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
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

	Memory []ProcessMemory `json:"memory"`
}

// Cost is one part of a step. The parts that do not wait add up to the step, but for their being
// medians; when both towers compute at once a negative part takes away what is counted twice.
type Cost struct {
	Part    string  `json:"part"`
	MS      float64 `json:"ms"`
	Share   float64 `json:"share"`   // of the step
	Plugin  bool    `json:"plugin"`  // inside a plugin
	Waiting bool    `json:"waiting"` // beside the step, in the background
}

// Bench trains warmup and then steps steps of a spec and says where the time went. Nothing is
// evaluated, nothing is kept: what the store costs is measured on a database that is thrown away.
func (l Lab) Bench(ctx context.Context, s *spec.Spec, warmup, steps int, w Watcher) (*Bench, error) {
	program := process.Program()
	meter := &meter{warmup: warmup}
	peak := openPeak(s)
	defer peak.Close()
	r := rehearsal{lab: l, spec: s, steps: warmup + steps, watch: w, observe: meter.observe}
	r.first = func() { peak.long(w) }
	r.ready = func(m *model, _ *store.DB) error {
		meter.model, meter.before, meter.spans = m, m.stats(), nil
		return nil
	}
	r.step = func(report train.StepReport) error {
		meter.add(report)
		peak.short()
		return nil
	}
	var memory []ProcessMemory
	r.last = func(ctx context.Context, m *model) (err error) {
		memory, err = m.memory(ctx)
		return err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	peak.long(w)
	b := meter.bench(s, peak.gflops)
	b.Memory = append(memory, memoryOfRunner(program(), clip.MemoryPart{Name: "peak measurement", Bytes: peak.bytes}))
	return b, nil
}

// rehearsal trains steps that count for nothing: without evaluations and checkpoints, and with a
// database that is thrown away. Each function may be nil.
type rehearsal struct {
	lab     Lab
	spec    *spec.Spec
	steps   int
	watch   Watcher
	observe func(process.Call)                  // told of every call, from the goroutine that made it
	first   func()                              // once the plugins are found
	ready   func(*model, *store.DB) error       // once they are configured
	step    func(train.StepReport) error        // after every step
	last    func(context.Context, *model) error // after the last, while the plugins run
}

func (r rehearsal) run(ctx context.Context) (err error) {
	s, l := r.spec, r.lab
	if err := checkDevices(s); err != nil {
		return err
	}
	used, err := l.plugins(s)
	if err != nil {
		return err
	}
	if r.first != nil {
		r.first()
	}
	dir, release, err := leftover.Dir("tandem-bench-")
	if err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	defer release()
	db, err := store.Open(filepath.Join(dir, "bench.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	rec, err := db.Begin(ctx, meta(s, used, s.Identity(used.digests())))
	if err != nil {
		return err
	}
	m, err := l.observed(ctx, s, "", true, r.watch, r.observe)
	if err != nil {
		return err
	}
	defer m.Close()
	tell := &teller{rec, r.watch}
	if err := m.announce(tell); err != nil {
		return err
	}
	m.begin.Steps, m.begin.ID = r.steps, ""
	if err := r.ready(m, db); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := s.Train
	t, err := train.New(train.Config{
		Steps: r.steps, BatchSize: c.BatchSize, MicroBatchSize: c.MicroBatchSize, Samples: m.begin.Data.Len, Seed: s.Seed,
		Shuffle: s.Data.Train.Shuffle, LR: func(int) float64 { return c.LR * 1e-3 }, MaxGradNorm: c.MaxGradNorm,
		Parallel: c.ParallelTowers, LogEvery: c.LogEvery, Prefetch: s.Data.Prefetch,
		MaxBadShare: s.Data.MaxBadShare,
	}, m.Parts, tell, train.Hooks{Step: func(report train.StepReport) {
		if err := r.step(report); err != nil {
			cancel(err)
		}
		r.watch.Step(report)
	}})
	if err != nil {
		return err
	}
	r.watch.Began(m.begin)
	if _, err := t.Run(ctx, nil); err != nil {
		return errors.Join(cause(ctx), err)
	}
	if err := cause(ctx); err != nil {
		return err
	}
	if r.last != nil {
		return r.last(ctx, m)
	}
	return nil
}

// cause is why a function of a rehearsal ended it; nil when none did.
func cause(ctx context.Context) error {
	if err := context.Cause(ctx); err != ctx.Err() {
		return err
	}
	return nil
}

// peak measures the device's rate of matrix products again and again, because other programs may
// take their share of the machine at any one time; the best counts.
type peak struct {
	gflops  float64 // 0 where the device cannot be measured from here
	bytes   int64   // of memory that measuring takes
	measure func(limit time.Duration) (float64, error)
	close   func() error
}

func openPeak(s *spec.Spec) *peak {
	b, err := devices.OpenWith(s.Image.Device, devices.Options{Threads: threads(s)[roleImage], Precision: s.Train.Precision})
	if err != nil {
		return &peak{}
	}
	return &peak{bytes: devices.PeakMemory(b), close: b.Close, measure: func(limit time.Duration) (float64, error) {
		runtime.LockOSThread() // OpenMP has a pool of threads for each that calls it
		defer runtime.UnlockOSThread()
		return devices.PeakGFLOPSIn(limit, b, s.Train.Precision == "bf16")
	}}
}

// long takes half a second or so.
func (p *peak) long(w Watcher) {
	w.Doing("measuring the peak")
	p.within(400 * time.Millisecond)
	w.Doing("")
}

// short takes a fraction of that, and nothing on devices that are slow at it.
func (p *peak) short() {
	const fast = 30 // GFLOP/s: a product takes a quarter of a second at most
	if p.gflops > fast {
		p.within(30 * time.Millisecond)
	}
}

func (p *peak) within(limit time.Duration) {
	if p.measure == nil {
		return
	}
	if rate, err := p.measure(limit); err == nil {
		p.gflops = max(p.gflops, rate)
	}
}

func (p *peak) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// meter takes the plugins' counters apart step by step.
type meter struct {
	*model
	before map[string]counters
	warmup int
	steps  []measured

	mu    sync.Mutex
	spans []interval // of towers and loss since the last step
}

// counters are of one role and method: time inside the plugin and work done.
type counters struct {
	time time.Duration
	work float64
}

// interval is a time during which a plugin computed.
type interval struct{ from, to time.Time }

// measured is one step: its parts as durations.
type measured struct {
	wall     time.Duration
	phases   [train.Phases]time.Duration
	inside   map[string]time.Duration // "image Forward" → time inside the plugin
	work     map[string]float64       // the same, in operations
	computed time.Duration            // that at least one of towers and loss computed
	twice    time.Duration            // that more than one did, counted once less than they were many
	overhead time.Duration
}

// observe notes when towers and loss computed.
func (m *meter) observe(c process.Call) {
	if c.Label == roleData || c.Failed {
		return
	}
	from := c.Inside
	if from.IsZero() { // unknown: in the middle of what the caller waited
		from = c.Start.Add((c.Client - c.Server) / 2)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spans = append(m.spans, interval{from, from.Add(c.Server)})
}

// union is how long at least one of the intervals lasted. It sorts them.
func union(spans []interval) (total time.Duration) {
	slices.SortFunc(spans, func(a, b interval) int { return a.from.Compare(b.from) })
	var end time.Time
	for _, s := range spans {
		if s.from.Before(end) {
			s.from = end
		}
		if s.to.After(s.from) {
			total += s.to.Sub(s.from)
			end = s.to
		}
	}
	return total
}

// stats are the counters of all plugins by role and method.
func (m *model) stats() map[string]counters {
	out := map[string]counters{}
	for role, p := range m.byRole {
		for _, s := range p.Stats() {
			out[role+" "+s.Method] = counters{s.Server, s.Work}
		}
	}
	return out
}

func (m *meter) add(r train.StepReport) {
	now := m.stats()
	before := m.before
	m.before = now
	m.mu.Lock()
	spans := m.spans
	m.spans = nil
	m.mu.Unlock()
	if r.Step <= m.warmup {
		return
	}
	x := measured{wall: r.Duration + r.Phases[train.PhaseRecord], phases: r.Phases, inside: map[string]time.Duration{}, work: map[string]float64{}}
	for k, v := range now {
		x.inside[k], x.work[k] = v.time-before[k].time, v.work-before[k].work
	}
	for _, i := range spans {
		x.twice += i.to.Sub(i.from)
	}
	x.computed = union(spans)
	x.twice -= x.computed
	x.overhead = x.wall - x.computed
	m.steps = append(m.steps, x)
}

// bench is the medians of what was measured.
func (m *meter) bench(s *spec.Spec, peak float64) *Bench {
	middle := func(of func(measured) float64) float64 {
		values := make([]float64, len(m.steps))
		for i, x := range m.steps {
			values[i] = of(x)
		}
		slices.Sort(values)
		n := len(values)
		if n == 0 {
			return 0
		}
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	median := func(of func(measured) time.Duration) float64 {
		return middle(func(x measured) float64 { return of(x).Seconds() * 1000 })
	}
	operations := func(x measured) (sum float64) {
		for _, w := range x.work {
			sum += w
		}
		return sum
	}
	b := &Bench{
		Experiment: s.Name, Device: deviceText(s, m.begin.Image), Threads: threads(s)[roleImage], Steps: len(m.steps),
		BatchSize: s.Train.BatchSize, Parameters: m.begin.Parameters(), PeakGFLOPS: peak,
		StepMS:     median(func(x measured) time.Duration { return x.wall }),
		OverheadMS: median(func(x measured) time.Duration { return x.overhead }),
		StepGFLOP:  middle(operations) / 1e9,
	}
	if b.StepMS == 0 {
		return b
	}
	b.OverheadShare = b.OverheadMS / b.StepMS
	b.ImagesPerS = 1000 * float64(b.BatchSize) / b.StepMS
	b.GFLOPS = middle(func(x measured) float64 { return operations(x) / x.wall.Seconds() }) / 1e9
	for _, role := range []string{roleImage, roleText, roleLoss} {
		if middle(func(x measured) float64 { return x.work[role+" Forward"] + x.work[role+" Compute"] }) == 0 {
			b.Uncounted = append(b.Uncounted, role)
		}
	}
	if peak > 0 {
		b.PeakShare = b.GFLOPS / peak
	}
	add := func(part string, inside bool, of func(measured) time.Duration) {
		ms := median(of)
		b.Breakdown = append(b.Breakdown, Cost{Part: part, MS: ms, Share: ms / b.StepMS, Plugin: inside})
	}
	for _, role := range []string{roleImage, roleText} {
		add(role+" forward", true, func(x measured) time.Duration { return x.inside[role+" Forward"] })
		add(role+" backward", true, func(x measured) time.Duration { // with the norm, whichever call gave it
			return x.inside[role+" Backward"] + x.inside[role+" GradNorm"]
		})
		add(role+" step", true, func(x measured) time.Duration { return x.inside[role+" Step"] })
	}
	add("loss", true, func(x measured) time.Duration {
		return x.inside[roleLoss+" Compute"] + x.inside[roleLoss+" GradNorm"] + x.inside[roleLoss+" Step"]
	})
	if twice := median(func(x measured) time.Duration { return x.twice }); twice > 0 {
		b.Breakdown = append(b.Breakdown, Cost{Part: "at once, counted twice", MS: -twice, Share: -twice / b.StepMS, Plugin: true})
	}
	add("data wait", false, func(x measured) time.Duration { return x.phases[train.PhaseData] })
	add("store", false, func(x measured) time.Duration { return x.phases[train.PhaseRecord] })
	add("wire and trainer", false, func(x measured) time.Duration {
		return x.overhead - x.phases[train.PhaseData] - x.phases[train.PhaseRecord]
	})
	add("data, in the background", true, func(x measured) time.Duration { return x.inside[roleData+" Batch"] })
	b.Breakdown[len(b.Breakdown)-1].Waiting = true
	return b
}
