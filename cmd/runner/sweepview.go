package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

// sweepView shows a sweep: a live table at the bottom of a terminal, plain lines elsewhere.
type sweepView struct {
	mu      sync.Mutex
	out     io.Writer
	live    bool
	on      bool
	started time.Time
	sweep   *sweep.Sweep
	trials  []sweep.Trial // beside rows; a search adds some
	total   int           // trials of a search in the end, as far as is known
	rows    []trialRow
	best    string // of a search: its best point so far and what that reached
	drawn   int    // lines of the table on the screen
	done    chan struct{}
}

// trialRow holds what is shown of a trial.
type trialRow struct {
	schedule.State
	progress *progress // of its run, while there is one
	began    time.Time
	took     time.Duration
	value    string // of the deciding metric
	part     float64
	lastLine time.Time
}

func newSweepView(out io.Writer, on bool) *sweepView {
	terminal, _ := report.Terminal(out)
	v := &sweepView{out: out, live: terminal && on, on: on, started: time.Now(), done: make(chan struct{})}
	if v.live {
		go v.redraw()
	}
	return v
}

func (v *sweepView) redraw() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-v.done:
			return
		case <-tick.C:
			v.mu.Lock()
			v.draw()
			v.mu.Unlock()
		}
	}
}

// Close leaves the table on the screen as it is last.
func (v *sweepView) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw()
	v.live = false
	close(v.done)
}

// Planned implements schedule.Watcher.
func (v *sweepView) Planned(s *sweep.Sweep, states []schedule.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sweep, v.trials = s, slices.Clone(s.Trials)
	for _, st := range states {
		v.rows = append(v.rows, trialRow{State: st})
	}
	design := s.Design
	if s.Impossible > 0 {
		design += fmt.Sprintf(", %d combinations left out where a factor does not apply", s.Impossible)
	}
	if s.Search != nil {
		v.total = s.Search.Expected()
		v.say(searchLine(s))
	} else if n := len(s.Trials); n > 0 {
		v.say(fmt.Sprintf("%s: %d trials (%s), compared by %s", s.Base.Name, n, design, s.Metric))
	}
}

// Added implements schedule.Watcher.
func (v *sweepView) Added(t sweep.Trial, now schedule.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.trials, v.rows = append(v.trials, t), append(v.rows, trialRow{State: now})
	v.total = v.sweep.Search.Expected() // here, as only its own goroutine may look at a search
	if v.on && !v.live && now.Status != schedule.Waiting {
		v.say(v.line(len(v.rows)-1, false))
	}
}

// Best implements schedule.Watcher.
func (v *sweepView) Best(variant, name string, value float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	best := fmt.Sprintf("best so far %s, %s %s", variant, metric.Measure(name), report.Metric(name, value))
	if best != v.best && v.on && !v.live {
		v.say(v.sweep.Base.Name + ": " + best)
	}
	v.best = best
}

// Changed implements schedule.Watcher.
func (v *sweepView) Changed(i int, now schedule.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &v.rows[i]
	if r.Status == schedule.Running {
		r.took += time.Since(r.began)
	}
	r.State = now
	r.began = time.Now()
	if now.Status == schedule.Done || now.Status == schedule.Stopped {
		r.part = 1
	}
	if v.live {
		if now.Status == schedule.Failed || now.Err != nil {
			v.say(v.line(i, false))
		}
		return
	}
	if v.on {
		v.say(v.line(i, false))
	}
}

// Note implements schedule.Watcher.
func (v *sweepView) Note(message string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.say(message)
}

// Trial implements schedule.Watcher.
func (v *sweepView) Trial(i int) run.Watcher {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := newProgress(io.Discard, true)
	p.live = v.live // its line has a bar
	v.rows[i].progress = p
	return &trialWatcher{progress: p, v: v, i: i}
}

// say prints a lasting line above the table.
func (v *sweepView) say(text string) {
	v.clear()
	fmt.Fprintln(v.out, fault.Printable(text))
	v.draw()
}

func (v *sweepView) clear() {
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

func (v *sweepView) draw() {
	if !v.live || v.sweep == nil {
		return
	}
	width, height := 80, 24
	if f, ok := v.out.(*os.File); ok {
		if w, h := report.TerminalSize(f); w > 0 && h > 0 {
			width, height = w, h
		}
	}
	v.clear()
	lines := append([]string{v.headline()}, v.table(max(1, height-3))...)
	for _, line := range lines {
		line = fault.PrintableLine(line)
		if r := []rune(line); len(r) >= width {
			line = string(r[:width-1])
		}
		fmt.Fprintln(v.out, line)
	}
	v.drawn = len(lines)
}

// table returns as many rows as fit: first what is going on, then what failed, what comes next and what is over.
func (v *sweepView) table(room int) []string {
	chosen := make([]bool, len(v.rows))
	left := len(v.rows)
	if left > room {
		room--
	}
	for _, wanted := range [][]schedule.Status{{schedule.Running}, {schedule.Failed, schedule.Elsewhere, schedule.Interrupted}, {schedule.Waiting}, {schedule.Stopped, schedule.Done}} {
		for i, r := range v.rows {
			for _, s := range wanted {
				if r.Status == s && room > 0 && !chosen[i] {
					chosen[i] = true
					room--
					left--
				}
			}
		}
	}
	var lines []string
	for i := range v.rows {
		if chosen[i] {
			lines = append(lines, "  "+v.line(i, true))
		}
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("  … and %d more", left))
	}
	return lines
}

// line writes a trial on one line: with live a row of the table, else a line that stands alone.
func (v *sweepView) line(i int, live bool) string {
	r, t := v.rows[i], v.trials[i]
	var b strings.Builder
	if live {
		fmt.Fprintf(&b, "%-*s  seed %-*d  ", v.nameWidth(), t.Cells[0].Variant, v.seedWidth(), t.Seed)
	} else {
		b.WriteString(v.place(i))
	}
	switch r.Status {
	case schedule.Running:
		switch {
		case live && r.progress != nil:
			b.WriteString(r.progress.line())
		case r.Attempt > 1:
			fmt.Fprintf(&b, "run %s, attempt %d", r.RunID, r.Attempt)
		case r.Resumed:
			fmt.Fprintf(&b, "run %s goes on", r.RunID)
		default:
			fmt.Fprintf(&b, "run %s", r.RunID)
		}
	case schedule.Done:
		b.WriteString("done")
		if r.value != "" {
			b.WriteString("  " + r.value)
		}
		if r.Before {
			b.WriteString(" before")
		} else if r.took > 0 {
			b.WriteString("  " + report.Duration(r.took.Seconds()))
		} else if !live {
			b.WriteString(" elsewhere")
		}
	case schedule.Stopped:
		b.WriteString("stopped: " + r.Reason)
	case schedule.Elsewhere:
		b.WriteString("made by " + r.Owner)
	case schedule.Waiting:
		b.WriteString("waiting")
		if r.Err != nil {
			fmt.Fprintf(&b, " %s to try again: %s", report.Duration(max(0, time.Until(r.NotBefore).Seconds())), oneLine(r.Err))
		}
	case schedule.Failed:
		b.WriteString("failed: " + oneLine(r.Err))
	default:
		b.WriteString(string(r.Status))
	}
	return b.String()
}

// place names a trial in a line of its own.
func (v *sweepView) place(i int) string {
	t := v.trials[i]
	return fmt.Sprintf("[%d/%d] %s, seed %d: ", i+1, v.expected(), t.Cells[0].Variant, t.Seed)
}

// trial returns a trial to those who do not hold the lock.
func (v *sweepView) trial(i int) sweep.Trial {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.trials[i]
}

// expected returns how many trials there will be, as far as is known.
func (v *sweepView) expected() int { return max(len(v.rows), v.total) }

func oneLine(err error) string {
	text, _, _ := strings.Cut(fault.Format(err), "\n")
	return text
}

func (v *sweepView) nameWidth() (n int) {
	for _, t := range v.trials {
		n = max(n, len([]rune(t.Cells[0].Variant)))
	}
	return min(n, 40)
}

func (v *sweepView) seedWidth() (n int) {
	for _, t := range v.trials {
		n = max(n, len(fmt.Sprint(t.Seed)))
	}
	return n
}

// headline writes the whole sweep on one line, with the time that is left, reckoned from what this process has made so far.
func (v *sweepView) headline() string {
	counts := map[schedule.Status]int{}
	var made, left, all float64
	for _, r := range v.rows {
		counts[r.Status]++
		part := r.part
		if r.Status == schedule.Running && r.progress != nil {
			part = r.progress.fraction()
		}
		if r.Before {
			part = 1
		} else {
			made += part
		}
		all += part
		if r.Status == schedule.Running || r.Status == schedule.Waiting {
			left += 1 - part
		}
	}
	expected := v.expected()
	left += float64(expected - len(v.rows)) // what a search will add
	full := int(barWidth * all / float64(max(1, expected)))
	text := strings.Repeat("━", full) + strings.Repeat("╌", barWidth-full)
	for _, s := range []schedule.Status{schedule.Done, schedule.Running, schedule.Elsewhere, schedule.Waiting, schedule.Stopped, schedule.Failed, schedule.Interrupted} {
		if counts[s] > 0 {
			text += fmt.Sprintf("  %d %s", counts[s], s)
		}
	}
	if v.best != "" {
		text += "  " + v.best
	}
	elapsed := time.Since(v.started).Seconds()
	text += "  " + report.Duration(elapsed)
	if made > 0.02 && left > 0 {
		text += "  ETA " + eta(elapsed*left/made)
	}
	return text
}

// trialWatcher watches one run of a sweep.
type trialWatcher struct {
	*progress
	v *sweepView
	i int
}

// Step implements run.Watcher.
func (w *trialWatcher) Step(r train.StepReport) {
	w.progress.Step(r)
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	row := &w.v.rows[w.i]
	if w.v.on && !w.v.live && time.Since(row.lastLine) > lineEvery && time.Since(row.began) > lineEvery {
		row.lastLine = time.Now()
		w.v.say(w.v.place(w.i) + w.progress.line())
	}
}

// Evaluated implements run.Watcher.
func (w *trialWatcher) Evaluated(step int, name string, values []clip.Metric) {
	w.progress.Evaluated(step, name, values)
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	for _, m := range values {
		if m.Name == w.v.sweep.Metric {
			w.v.rows[w.i].value = metric.Measure(m.Name) + " " + report.Metric(m.Name, m.Value)
		}
	}
}

// Event implements run.Watcher.
func (w *trialWatcher) Event(level, message string) {
	t := w.v.trial(w.i)
	w.v.Note(fmt.Sprintf("%s, seed %d: %s: %s", t.Cells[0].Variant, t.Seed, level, message))
}
