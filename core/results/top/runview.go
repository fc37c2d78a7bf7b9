package top

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"tandem/core/fault"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

// lastEvents limits how many lines of a run's log are shown.
const lastEvents = 50

// runParts draws a run. Its lines scroll; there is no cursor.
func (m *model) runParts() (head string, lines []string, at int, foot string) {
	head, foot = bold.Render("Run "+m.runs), dim.Render("↑ ↓ scroll · Esc back · q leaves")
	if m.run == nil {
		return head, []string{"reading …"}, -1, foot
	}
	head += "  " + fault.PrintableLine(strings.TrimSpace(m.run.Experiment+"  "+m.run.Variant)) + fmt.Sprintf("  seed %d  %s", m.run.Seed, m.run.Status)
	lines = m.runLines()
	return head, lines[min(m.scroll, len(lines)):], -1, foot
}

// runLines returns all lines of the run: what failed, its metrics, its newest events.
func (m *model) runLines() []string {
	if m.run == nil {
		return nil
	}
	var lines []string
	r := m.run
	if e := r.Error; e != nil {
		lines = append(lines, warning.Render(fault.PrintableLine(e.Message)))
		if e.Hint != "" {
			lines = append(lines, "hint: "+fault.PrintableLine(e.Hint))
		}
		lines = append(lines, "")
	}
	steps, left := int64(0), ""
	if r.Steps != nil {
		steps = *r.Steps
	}
	if total, ok := r.Facts["steps.total"].(int64); ok {
		left = fmt.Sprintf(" of %d", total)
	}
	lines = append(lines, fmt.Sprintf("steps %d%s   time %s   %s", steps, left, report.Duration(r.DurationS), fault.PrintableLine(r.Device)), "")
	lines = append(lines, metricLines(r.Metrics)...)
	if len(r.Events) > 0 {
		lines = append(lines, "", bold.Render("Events"))
		for _, e := range slices.Backward(r.Events[max(0, len(r.Events)-lastEvents):]) {
			lines = append(lines, fmt.Sprintf("%s  %-5s  step %d  %s", clock(e.At), fault.PrintableLine(e.Level), e.Step, fault.PrintableLine(e.Message)))
		}
	}
	return lines
}

// metricLines returns a table of metrics: last, best and the step of that.
func metricLines(metrics map[string]store.Series) []string {
	wide := 6
	for name := range metrics {
		wide = max(wide, lipgloss.Width(fault.PrintableLine(name)))
	}
	lines := []string{dim.Render(fmt.Sprintf("%s %12s %12s %8s", pad("metric", wide), "last", "best", "at step"))}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		s := metrics[name]
		best, at := "", ""
		if s.BestStep != nil {
			best, at = report.Metric(name, float64(s.Best)), fmt.Sprint(*s.BestStep)
		}
		lines = append(lines, fmt.Sprintf("%s %12s %12s %8s", pad(fault.PrintableLine(name), wide), report.Metric(name, float64(s.Last)), best, at))
	}
	return lines
}

// clock shortens an ISO 8601 time to the time of day.
func clock(iso string) string {
	if len(iso) < 19 {
		return iso
	}
	return iso[11:19]
}
