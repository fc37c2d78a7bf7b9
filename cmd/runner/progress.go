package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 10 * time.Second // between progress lines where there is no terminal
	barWidth    = 24
)

// progress shows a run: one live line at the bottom of a terminal, plain lines elsewhere. Lasting
// lines (what began, evaluations, events) are printed above it.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	live     bool // redraw a line
	on       bool // show steps at all
	begin    assemble.Summary
	doing    string
	last     train.StepReport
	rate     float64 // images per second, smoothed
	eval     string  // the newest evaluation's first figure
	drawn    time.Time
	onScreen bool // a live line is on the screen
	started  time.Time
	lastStep time.Time
}

func newProgress(out io.Writer, on bool) *progress {
	terminal, _ := report.Terminal(out)
	return &progress{out: out, live: terminal && on, on: on, started: time.Now(), drawn: time.Now()}
}

// Say prints a lasting line.
func (p *progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(fmt.Sprintf(format, args...))
}

func (p *progress) say(text string) {
	p.clear()
	fmt.Fprintln(p.out, fault.Printable(text))
	p.draw()
}

func (p *progress) clear() {
	if p.onScreen {
		fmt.Fprint(p.out, "\r\x1b[2K")
		p.onScreen = false
	}
}

// Close takes the live line away.
func (p *progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.live = false
}

// Doing implements run.Watcher.
func (p *progress) Doing(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = what
	p.draw()
}

// Began implements run.Watcher.
func (p *progress) Began(b assemble.Summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin = b
	name := b.Spec.Name
	if b.Spec.Variant != "" {
		name += "/" + b.Spec.Variant
	}
	if b.ID != "" {
		name = "run " + b.ID + "  " + name
	}
	p.say(fmt.Sprintf("%s  seed %d", name, b.Spec.Seed))
	p.say(fmt.Sprintf("  image  %s, %s, %d px", b.Spec.Image.Encoder, parameters(b.Image), b.Image.ImageSize))
	p.say(fmt.Sprintf("  text   %s, %s, %d tokens of %s", b.Spec.Text.Encoder, parameters(b.Text),
		b.Text.ContextLength, report.Count(float64(b.Text.VocabSize))))
	p.say(fmt.Sprintf("  data   %s, %s samples; %d steps of %d, %.1f epochs", trainingData(b.Spec), report.Count(float64(b.Data.Len)),
		b.Steps, b.Spec.Train.BatchSize, float64(b.Steps)/float64(max(1, b.StepsPerEpoch))))
	if n := len(b.Ranks); n > 1 {
		share := b.Spec.Train.BatchSize / n
		if size, _, err := train.MicroBatch(b.Spec.Train.BatchSize, b.Spec.Train.MicroBatchSize, n); err == nil { // the step loop has checked it
			p.say(fmt.Sprintf("  ranks  %d, each with %d pairs of a batch, in micro-batches of %d", n, share, size))
		}
	}
	p.say(fmt.Sprintf("  on     %s", b.Image.Backend))
	if b.FromStep > 0 {
		p.say(fmt.Sprintf("  from   step %d", b.FromStep))
	}
	p.lastStep = time.Now()
}

// trainingData names the training data, of a mixture with the share of each source.
func trainingData(s *spec.Spec) string {
	sources := s.Data.Train
	if len(sources) == 1 {
		return sources[0].Dataset
	}
	sum := 0.0
	for _, t := range sources {
		sum += t.Weight
	}
	var parts []string
	for _, t := range sources {
		switch {
		case t.Quota > 0:
			parts = append(parts, fmt.Sprintf("%s (%d a batch)", t.Name, t.Quota))
		case t.Weight > 0:
			parts = append(parts, fmt.Sprintf("%s (weight %.3g)", t.Name, t.Weight/sum))
		default:
			parts = append(parts, t.Name)
		}
	}
	return strings.Join(parts, " + ")
}

// parameters says how many a tower has and how many of them are trained.
func parameters(e clip.EncoderInfo) string {
	text := report.Count(float64(e.Parameters)) + " parameters"
	switch {
	case e.Frozen == e.Parameters && e.Frozen > 0:
		return text + " (frozen)"
	case e.Frozen > 0:
		return text + fmt.Sprintf(" (%s trained)", report.Count(float64(e.Parameters-e.Frozen)))
	}
	return text
}

// Step implements run.Watcher.
func (p *progress) Step(r train.StepReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.lastStep = r, time.Now()
	now := float64(r.Samples) / max(r.Duration.Seconds(), 1e-9)
	if p.rate == 0 {
		p.rate = now
	}
	p.rate += 0.1 * (now - p.rate)
	every := lineEvery
	if p.live {
		every = redrawEvery
	}
	if !p.on || time.Since(p.drawn) < every && r.Step != r.Steps {
		return
	}
	if p.live {
		p.draw()
		return
	}
	p.drawn = time.Now()
	fmt.Fprintln(p.out, fault.PrintableLine(p.text()))
}

// Evaluated implements run.Watcher.
func (p *progress) Evaluated(step int, name string, values []clip.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	for _, m := range values {
		if metric.IsHeadline(m.Name) {
			parts = append(parts, metric.Measure(m.Name)+" "+report.Metric(m.Name, m.Value))
		}
	}
	if len(parts) > 0 {
		p.eval = name + " " + parts[0]
	}
	p.say(fmt.Sprintf("step %d  %s  %s", step, name, strings.Join(parts, "  ")))
}

// Checkpointed implements run.Watcher.
func (p *progress) Checkpointed(int, string) {}

// Event implements run.Watcher.
func (p *progress) Event(level, message string) { p.Say("%s: %s", level, message) }

// draw redraws the live line.
func (p *progress) draw() {
	if !p.live {
		return
	}
	p.clear()
	text := fault.PrintableLine(p.text())
	if text == "" {
		return
	}
	if _, width := report.Terminal(p.out); width > 1 && len([]rune(text)) >= width {
		text = string([]rune(text)[:width-1])
	}
	fmt.Fprint(p.out, text)
	p.onScreen, p.drawn = true, time.Now()
}

// text writes the progress on one line.
func (p *progress) text() string {
	r := p.last
	if r.Steps == 0 {
		return p.doing
	}
	var b strings.Builder
	if p.live {
		full := barWidth * r.Step / r.Steps
		b.WriteString(strings.Repeat("━", full) + strings.Repeat("╌", barWidth-full) + "  ")
	}
	fmt.Fprintf(&b, "step %d/%d  loss %.4f", r.Step, r.Steps, r.Loss)
	if scale := r.Scalars["logit_scale"]; scale > 0 {
		fmt.Fprintf(&b, "  temperature %.4f", 1/scale)
	}
	fmt.Fprintf(&b, "  %s images/s", report.Number(float64(int(p.rate+0.5))))
	if left := r.Steps - r.Step; left > 0 && p.rate > 0 {
		if p.stalled() {
			b.WriteString("  ETA unknown")
		} else {
			fmt.Fprintf(&b, "  ETA %s", eta(float64(left*r.Samples)/p.rate))
		}
	}
	if p.doing != "" {
		b.WriteString("  " + p.doing)
	} else if p.eval != "" && p.live {
		b.WriteString("  " + p.eval)
	}
	return b.String()
}

// stalled reports that the last step is far longer ago than steps take, and nothing else is known to be done meanwhile.
func (p *progress) stalled() bool {
	since := time.Since(p.lastStep)
	return since > 10*time.Second && since > 5*p.last.Duration && (p.doing == "" || strings.HasPrefix(p.doing, "waiting for "))
}

// line writes the progress on one line, from any goroutine.
func (p *progress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text()
}

// fraction returns how much of the run is done, from 0 to 1.
func (p *progress) fraction() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.last.Step) / float64(max(1, p.last.Steps))
}

// eta writes a time in whole seconds.
func eta(seconds float64) string {
	if seconds < 59.5 {
		return fmt.Sprintf("%.0f s", seconds)
	}
	return report.Duration(seconds)
}
