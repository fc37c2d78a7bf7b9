package measure

import (
	"slices"
	"sync"
	"time"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/plugin/process"
)

// A meter takes the plugins' counters apart step by step.
type meter struct {
	*assemble.Model
	before map[string]counters
	warmup int
	steps  []measured
	began  time.Time // of the measured steps: when the last one before them had ended
	last   time.Time // end of the last measured step

	mu    sync.Mutex
	spans []interval // of towers and loss since the last step
}

// counters of one role and method: time inside the plugin and work done, in operations.
type counters struct {
	time time.Duration
	work float64
}

// An interval tells when a plugin computed.
type interval struct{ from, to time.Time }

// measured holds one step: its parts as durations.
type measured struct {
	wall     time.Duration
	phases   [train.Phases]time.Duration
	inside   map[string]time.Duration // "image Forward" → time inside the plugin
	work     map[string]float64       // the same, in operations
	computed time.Duration            // that at least one of towers and loss computed
	overlap  time.Duration            // that more than one did, counted once less than they were many
	overhead time.Duration
}

// observe notes when towers and loss computed.
func (m *meter) observe(c process.Call) {
	if assemble.IsTrainingData(c.Label) || c.Failed {
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

// unionLength returns how long at least one of the intervals lasted. It sorts them.
func unionLength(spans []interval) (total time.Duration) {
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

// pluginCounters returns the counters of all plugins, by role and method: "image Forward".
func pluginCounters(m *assemble.Model) map[string]counters {
	out := map[string]counters{}
	for role, p := range m.Processes {
		for _, s := range p.Stats() {
			out[role+" "+s.Method] = counters{s.Server, s.Work}
		}
	}
	return out
}

func (m *meter) add(r train.StepReport) {
	now := pluginCounters(m.Model)
	before := m.before
	m.before = now
	m.mu.Lock()
	spans := m.spans
	m.spans = nil
	m.mu.Unlock()
	at := time.Now()
	if r.Step <= m.warmup {
		m.began = at
		return
	}
	if m.last = at; m.began.IsZero() {
		m.began = at.Add(-r.Duration)
	}
	x := measured{wall: r.Duration + r.Phases[train.PhaseRecord], phases: r.Phases, inside: map[string]time.Duration{}, work: map[string]float64{}}
	for k, v := range now {
		x.inside[k], x.work[k] = v.time-before[k].time, v.work-before[k].work
	}
	for _, i := range spans {
		x.overlap += i.to.Sub(i.from)
	}
	x.computed = unionLength(spans)
	x.overlap -= x.computed
	x.overhead = x.wall - x.computed
	m.steps = append(m.steps, x)
}

// costs returns the medians of what was measured.
func (m *meter) costs(s *spec.Spec, peak float64) *StepCosts {
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
	b := &StepCosts{
		Experiment: s.Name, Device: m.Summary.Device(), Threads: assemble.Threads(s, 0)[assemble.RoleImage], Steps: len(m.steps),
		BatchSize: s.Train.BatchSize, Parameters: m.Summary.Parameters(), PeakGFLOPS: peak,
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
	for _, role := range assemble.Computing(s) {
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
	for _, role := range []string{assemble.RoleImage, assemble.RoleText} {
		add(role+" forward", true, func(x measured) time.Duration { return x.inside[role+" Forward"] })
		add(role+" backward", true, func(x measured) time.Duration { // with the norm, whichever call gave it
			return x.inside[role+" Backward"] + x.inside[role+" GradNorm"]
		})
		add(role+" step", true, func(x measured) time.Duration { return x.inside[role+" Step"] })
	}
	losses := assemble.LossRoles(s)
	for _, role := range losses {
		add(role, true, func(x measured) time.Duration {
			return x.inside[role+" Compute"] + x.inside[role+" GradNorm"] + x.inside[role+" Step"]
		})
	}
	for _, role := range assemble.Computing(s)[2+len(losses):] {
		add(role+" forward", true, func(x measured) time.Duration { return x.inside[role+" Forward"] })
	}
	if overlap := median(func(x measured) time.Duration { return x.overlap }); overlap > 0 {
		b.Breakdown = append(b.Breakdown, Cost{Part: "at once, counted twice", MS: -overlap, Share: -overlap / b.StepMS, Plugin: true})
	}
	add("data wait", false, func(x measured) time.Duration { return x.phases[train.PhaseData] })
	add("store", false, func(x measured) time.Duration { return x.phases[train.PhaseRecord] })
	add("wire and trainer", false, func(x measured) time.Duration {
		return x.overhead - x.phases[train.PhaseData] - x.phases[train.PhaseRecord]
	})
	add("data, in the background", true, func(x measured) (sum time.Duration) {
		for _, role := range assemble.DataRoles(s) {
			sum += x.inside[role+" Batch"]
		}
		return sum
	})
	b.Breakdown[len(b.Breakdown)-1].Waiting = true
	return b
}
