package measure

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/process"
	"tandem/core/results/store"
)

// StepProfile tells what towers and loss computed, kernel by kernel. Times are milliseconds per step, means
// over the profiled steps.
type StepProfile struct {
	Experiment string `json:"experiment"`
	Device     string `json:"device"`
	Threads    int    `json:"threads"`
	Steps      int    `json:"steps"`
	BatchSize  int    `json:"batch_size"`
	// Parallel says that the towers computed at once, so that each took time from the other.
	Parallel bool    `json:"parallel_towers"`
	StepMS   float64 `json:"step_ms"`
	// PeakGFLOPS and PeakGBs are the device's measured rates, of matrix products in 10⁹ operations a
	// second and of memory in 10⁹ bytes a second; the floor of a kernel is what it would take at them.
	PeakGFLOPS float64       `json:"peak_gflops"`
	PeakGBs    float64       `json:"peak_gb_s"`
	Parts      []ProfilePart `json:"parts"`

	spans []span
}

// ProfilePart holds one plugin's part of a profile.
type ProfilePart struct {
	Part    string `json:"part"` // image, text, loss
	Plugin  string `json:"plugin"`
	Methods []Call `json:"methods"`
	// MS is the time inside the plugin's methods, KernelMS that inside kernels: the rest is between
	// them. A plugin that does not tell its kernels has none.
	MS       float64  `json:"ms"`
	KernelMS float64  `json:"kernel_ms"`
	Ops      []Kernel `json:"ops"`    // by operation and pass, the longest first
	Layers   []Kernel `json:"layers"` // by layer, both passes together, the longest first
}

// Call tells what one method of a plugin took.
type Call struct {
	Method string  `json:"method"`
	Calls  float64 `json:"calls"` // per step
	MS     float64 `json:"ms"`    // inside the plugin
	WireMS float64 `json:"wire_ms"`
}

// Kernel tells what kernels of one kind took.
type Kernel struct {
	Name  string  `json:"name"`
	Pass  string  `json:"pass,omitempty"` // forward or backward
	Calls float64 `json:"calls"`          // per step
	MS    float64 `json:"ms"`
	Share float64 `json:"share"` // of the part's kernels
	GFLOP float64 `json:"gflop"`
	MB    float64 `json:"mb"` // 10⁶ bytes read and written, each array once
	// FloorMS bounds it from below, by the device's measured rates: the larger of operations and
	// bytes. FloorShare is that over MS; 1 is as fast as the device is, more means data in the cache.
	FloorMS    float64 `json:"floor_ms"`
	FloorShare float64 `json:"floor_share"`
}

// Profile trains warmup and then steps steps of a spec with the profiler on. Nothing is evaluated and
// nothing is kept.
func Profile(ctx context.Context, c *catalog.Catalog, s *spec.Spec, warmup, steps int, w Watcher) (*StepProfile, error) {
	p := &profiler{ctx: ctx, warmup: warmup, events: map[string][]clip.KernelRun{}}
	threads := assemble.Threads(s, 0)
	out := &StepProfile{Experiment: s.Name, Threads: threads[assemble.RoleImage], Steps: steps, BatchSize: s.Train.BatchSize,
		Parallel: assemble.ParallelTowers(s, threads)}
	peak := openPeak(s)
	defer peak.Close()
	r := rehearsal{catalog: c, spec: s, steps: warmup + steps, watch: w, observe: p.observe, step: p.step}
	r.first = func() {
		peak.measureLong(w)
		out.PeakGBs = peakGBs(s, w)
	}
	r.ready = func(m *assemble.Model, db *store.DB) error {
		p.model = m
		out.Device = m.Summary.Device()
		db.OnWrite(p.wrote)
		if warmup > 0 {
			return nil
		}
		return p.begin()
	}
	r.last = func(context.Context, *assemble.Model) error {
		p.on.Lock() // the background may still be writing
		defer p.on.Unlock()
		p.recording = false
		return nil
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	peak.measureLong(w)
	out.PeakGFLOPS, out.PeakGBs = peak.gflops, max(out.PeakGBs, peakGBs(s, w))
	p.report(out)
	return out, nil
}

// A profiler gathers what happens in all processes during the profiled steps.
type profiler struct {
	ctx    context.Context
	model  *assemble.Model
	warmup int
	events map[string][]clip.KernelRun // by role
	steps  []stepSpan

	on        sync.Mutex
	recording bool
	calls     []process.Call
	writes    []span
}

// stepSpan holds a step and when it ended.
type stepSpan struct {
	train.StepReport
	end time.Time
}

// begin turns the profilers on and drops what they noted before.
func (p *profiler) begin() error {
	if err := p.gather(true); err != nil {
		return err
	}
	clear(p.events)
	p.on.Lock()
	defer p.on.Unlock()
	p.recording, p.calls = true, nil
	return nil
}

// gather takes the events of all plugins.
func (p *profiler) gather(on bool) error {
	for _, role := range assemble.Computing(p.model.Spec) {
		events, err := p.model.Processes[role].Profile(p.ctx, on)
		if err != nil {
			return err
		}
		p.events[role] = append(p.events[role], events...)
	}
	return nil
}

func (p *profiler) observe(c process.Call) {
	p.on.Lock()
	defer p.on.Unlock()
	if p.recording {
		p.calls = append(p.calls, c)
	}
}

func (p *profiler) wrote(start time.Time, took time.Duration) {
	p.on.Lock()
	defer p.on.Unlock()
	if p.recording {
		p.writes = append(p.writes, span{process: "runner", lane: "store", name: "write", start: start, took: took})
	}
}

func (p *profiler) step(r train.StepReport) error {
	end := time.Now()
	if r.Step < p.warmup {
		return nil
	}
	if r.Step == p.warmup {
		return p.begin()
	}
	p.steps = append(p.steps, stepSpan{r, end})
	return p.gather(true)
}

// report turns what was gathered into tables and spans.
func (p *profiler) report(out *StepProfile) {
	perStep := 1 / float64(len(p.steps))
	for _, s := range p.steps {
		out.StepMS += ms(s.Duration+s.Phases[train.PhaseRecord]) * perStep
	}
	for _, role := range assemble.Computing(p.model.Spec) {
		part := ProfilePart{Part: role, Plugin: p.model.Processes[role].Name()}
		methods := map[string]*Call{}
		for _, c := range p.calls {
			if c.Label != role || c.Failed {
				continue
			}
			m := methods[c.Method]
			if m == nil {
				m = &Call{Method: c.Method}
				methods[c.Method] = m
			}
			m.Calls += perStep
			m.MS += ms(c.Server) * perStep
			m.WireMS += ms(c.Client-c.Server) * perStep
			part.MS += ms(c.Server) * perStep
		}
		for _, m := range methods {
			part.Methods = append(part.Methods, *m)
		}
		slices.SortFunc(part.Methods, func(a, b Call) int { return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Method, b.Method)) })
		events := p.events[role]
		for _, e := range events {
			part.KernelMS += ms(e.Duration) * perStep
		}
		part.Ops = out.kernels(events, perStep, part.KernelMS, func(e clip.KernelRun) (string, string) {
			if e.Backward {
				return e.Op, "backward"
			}
			return e.Op, "forward"
		})
		part.Layers = out.kernels(events, perStep, part.KernelMS, func(e clip.KernelRun) (string, string) { return e.Scope, "" })
		out.Parts = append(out.Parts, part)
	}
	out.spans = p.spans()
}

// kernels sums events by name and pass.
func (p *StepProfile) kernels(events []clip.KernelRun, perStep, total float64, by func(clip.KernelRun) (name, pass string)) []Kernel {
	type key struct{ name, pass string }
	sums := map[key]*Kernel{}
	for _, e := range events {
		name, pass := by(e)
		k := sums[key{name, pass}]
		if k == nil {
			k = &Kernel{Name: cmp.Or(name, "(no layer)"), Pass: pass}
			sums[key{name, pass}] = k
		}
		k.Calls += perStep
		k.MS += ms(e.Duration) * perStep
		k.GFLOP += e.FLOPs / 1e9 * perStep
		k.MB += e.Bytes / 1e6 * perStep
		floor := 0.0
		if p.PeakGFLOPS > 0 {
			floor = e.FLOPs / p.PeakGFLOPS / 1e6
		}
		if p.PeakGBs > 0 {
			floor = max(floor, e.Bytes/p.PeakGBs/1e6)
		}
		k.FloorMS += floor * perStep
	}
	list := make([]Kernel, 0, len(sums))
	for _, k := range sums {
		if total > 0 {
			k.Share = k.MS / total
		}
		if k.MS > 0 {
			k.FloorShare = k.FloorMS / k.MS
		}
		list = append(list, *k)
	}
	slices.SortFunc(list, func(a, b Kernel) int {
		return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Pass, b.Pass))
	})
	return list
}

// ms returns milliseconds.
func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// WriteTrace writes what happened in all processes as a Chrome trace, for ui.perfetto.dev or
// chrome://tracing.
func (p *StepProfile) WriteTrace(w io.Writer) error { return writeTrace(w, p.spans) }
