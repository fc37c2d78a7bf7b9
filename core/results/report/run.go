package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// runColumns head the list of runs for a person.
var runColumns = []string{"run", "experiment", "variant", "seed", "status", "started", "duration", "steps", "images/s", "metric", "value"}

// Runs writes a list of runs: for a person with units, for a program every field of store.RunInfo.
func Runs(w io.Writer, format Format, runs []store.RunInfo) error {
	list, err := NewRunWriter(w, format)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := list.Add(r); err != nil {
			return err
		}
	}
	return list.Close()
}

// A RunWriter writes runs as they come, as Runs does those that it is given. Close ends it.
type RunWriter struct {
	add   func(store.RunInfo) error
	close func() error
}

// Add writes a run.
func (w *RunWriter) Add(r store.RunInfo) error { return w.add(r) }

// Close writes what is left.
func (w *RunWriter) Close() error { return w.close() }

// NewRunWriter begins a list of runs.
func NewRunWriter(w io.Writer, format Format) (*RunWriter, error) {
	switch format {
	case JSON:
		list := jsonList{w: bufio.NewWriter(w)}
		return &RunWriter{close: list.close, add: func(r store.RunInfo) error { return list.value(r) }}, nil
	case CSV:
		rows, err := csvRows(w, []string{"run_id", "experiment", "variant", "seed", "status", "started_at", "ended_at", "duration_s",
			"steps", "samples_seen", "images_per_s", "device", "tainted", "metric", "value", "warnings"})
		if err != nil {
			return nil, err
		}
		return &RunWriter{close: rows.Close, add: func(r store.RunInfo) error {
			return rows.Add([]any{r.ID, r.Experiment, r.Variant, r.Seed, r.Status, r.StartedAt, r.EndedAt, r.DurationS,
				r.Steps, r.SamplesSeen, r.ImagesPerS, r.Device, r.Tainted, r.Metric, r.Value, r.Warnings})
		}}, nil
	}
	right := make([]bool, len(runColumns))
	for _, j := range []int{3, 6, 7, 8, 10} {
		right[j] = true
	}
	t := newTextTable(w, runColumns, right)
	t.layout = func() {
		t.columns, t.cells, t.right = fitColumns(t.columns, t.cells, t.right, t.width, "images/s", "steps", "metric", "started", "seed", "duration")
		t.keep = make([]int, len(t.columns))
		for j, name := range t.columns {
			t.keep[j] = slices.Index(runColumns, name)
		}
	}
	return &RunWriter{close: t.close, add: func(r store.RunInfo) error { return t.add(runCells(r)) }}, nil
}

func runCells(r store.RunInfo) []string {
	status := r.Status
	if r.Tainted {
		status += " (tainted)"
	}
	switch {
	case r.Warnings == 1:
		status += ", 1 warning"
	case r.Warnings > 1:
		status += fmt.Sprintf(", %d warnings", r.Warnings)
	}
	value := "–"
	if r.Value != nil {
		value = Metric(r.Metric, float64(*r.Value))
	}
	return []string{r.ID, r.Experiment, dash(r.Variant), fmt.Sprint(r.Seed), status, Minute(r.StartedAt), Duration(r.DurationS),
		optional(r.Steps, Count), optional(r.ImagesPerS, rate), dash(r.Metric), value}
}

// fitColumns leaves out columns that say nothing in any row, then, while the rest is wider than width and
// width is known, those of spare in order.
func fitColumns(columns []string, cells [][]string, right []bool, width int, spare ...string) ([]string, [][]string, []bool) {
	keep := make([]bool, len(columns))
	for j := range columns {
		keep[j] = len(cells) == 0
		for _, row := range cells {
			keep[j] = keep[j] || row[j] != "–"
		}
	}
	for {
		var head []string
		var align []bool
		body := make([][]string, len(cells))
		for j, name := range columns {
			if !keep[j] {
				continue
			}
			head, align = append(head, name), append(align, right[j])
			for i, row := range cells {
				body[i] = append(body[i], row[j])
			}
		}
		if limits, _ := columnWidths(head, body, width); limits == nil || len(spare) == 0 {
			return head, body, align
		}
		keep[slices.Index(columns, spare[0])] = false
		spare = spare[1:]
	}
}

// Final writes the table that ends a run: the evaluation's metrics, then what it took.
func Final(w io.Writer, d *store.RunDetail) error {
	var cells [][]string
	add := func(name, value, note string) { cells = append(cells, []string{name, value, note}) }
	for _, name := range metric.Names(d.Metrics) {
		if !metric.IsEvaluation(name) {
			continue
		}
		s := d.Metrics[name]
		note := fmt.Sprintf("step %d", s.LastStep)
		if s.BestStep != nil && *s.BestStep != s.LastStep {
			note += fmt.Sprintf(", best %s at %d", Metric(name, float64(s.Best)), *s.BestStep)
		}
		add(name, Metric(name, float64(s.Last)), note)
	}
	if s, ok := d.Metrics[metric.TrainLoss]; ok {
		add(metric.TrainLoss, Number(float64(s.Last)), "from "+Number(float64(s.First)))
	}
	for _, name := range metric.Names(d.Metrics) {
		if s := d.Metrics[name]; metric.IsTraining(name) && metric.Measure(name) == metric.Measure(metric.LogitScale) { // of each loss of a sum
			add(name, Number(float64(s.Last)), "from "+Number(float64(s.First)))
		}
	}
	add("steps", optional(d.Steps, Count), "")
	add("samples seen", optional(d.SamplesSeen, Count), "")
	add("images/s", optional(d.ImagesPerS, rate), "mean over the steps")
	add("step", optional(d.StepMS, func(ms float64) string { return Duration(ms / 1000) }), "")
	add("data wait", dataWait(d), "mean of a step")
	add("parameters", optional(d.Parameters, Count), "")
	add("time", Duration(d.DurationS), d.Status)
	return Table(w, []string{"run " + d.ID, "", ""}, cells, []bool{false, true, false})
}

// Show writes all of a run for a person, or as JSON the whole of store.RunDetail.
func Show(w io.Writer, format Format, d *store.RunDetail) error {
	switch format {
	case JSON:
		return Value(w, d)
	case CSV:
		var rows [][]any
		for _, name := range metric.Names(d.Metrics) {
			s := d.Metrics[name]
			rows = append(rows, []any{name, s.Last, s.LastStep, s.Best, s.BestStep, s.Min, s.Max, s.Mean, s.N})
		}
		return Rows(w, CSV, []string{"metric", "last", "last_step", "best", "best_step", "min", "max", "mean", "n"}, rows)
	}
	var b strings.Builder
	_, width := Terminal(w)
	for _, f := range describe(d) {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-15s %s\n", f[0], wrapHanging(fault.Printable(f[1]), width, 16))
		}
	}
	if e := d.Error; e != nil {
		fmt.Fprintf(&b, "\nerror (%s): %s\n", e.Kind, fault.Format(&fault.Error{Msg: e.Message, Hint: e.Hint, Detail: e.Detail}))
	}
	if _, err := io.WriteString(w, b.String()+"\n"); err != nil {
		return err
	}
	for _, part := range []func(io.Writer, *store.RunDetail) error{showMetrics, showEvaluations, showSources, showSkips, showFacts, showPlugins, showEvents} {
		if err := part(w, d); err != nil {
			return err
		}
	}
	return nil
}

// wrapHanging breaks a text so that it fits between a column and width, 0 for any.
func wrapHanging(s string, width, column int) string {
	if width <= column+leastWidth || text.StringWidthWithoutEscSequences(s) <= width-column {
		return s
	}
	return strings.ReplaceAll(text.WrapText(s, width-column), "\n", "\n"+strings.Repeat(" ", column))
}

func describe(d *store.RunDetail) [][2]string {
	commit := d.GitCommit
	if d.GitDirty {
		commit += " (with uncommitted changes)"
	}
	checkpoint := ""
	if len(d.Checkpoints) > 0 {
		checkpoint = fmt.Sprintf("step %d, %s", d.Checkpoints[0].Step, d.Checkpoints[0].Dir)
	}
	return [][2]string{
		{"run", d.ID},
		{"experiment", d.Experiment},
		{"variant", d.Variant},
		{"seed", fmt.Sprint(d.Seed)},
		{"status", d.Status},
		{"warnings", warnings(d)},
		{"tainted", d.Taint},
		{"started", Minute(d.StartedAt)},
		{"time", Duration(d.DurationS)},
		{"steps", optional(d.Steps, Count)},
		{"samples seen", optional(d.SamplesSeen, Count)},
		{"images/s", optional(d.ImagesPerS, rate)},
		{"step", optional(d.StepMS, func(ms float64) string { return Duration(ms / 1000) })},
		{"data wait", dataWait(d)},
		{"parameters", optional(d.Parameters, Count)},
		{"device", d.Device},
		{"host", fmt.Sprintf("%s, %d cores", d.Host, d.Cores)},
		{"libraries", JSONMap(d.Libraries)},
		{"threads", JSONMap(d.Threads)},
		{"dataset", d.DatasetDigest},
		{"commit", commit},
		{"checkpoint", checkpoint},
	}
}

// warnings says how many of a run's events are no mere information, and of what kinds; "" when none are.
func warnings(d *store.RunDetail) string {
	var kinds []string
	n := 0
	for _, e := range d.Events {
		if e.Level == "info" {
			continue
		}
		n++
		if !slices.Contains(kinds, e.Kind) {
			kinds = append(kinds, e.Kind)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d (%s)", n, strings.Join(kinds, ", "))
}

func showMetrics(w io.Writer, d *store.RunDetail) error {
	if len(d.Metrics) == 0 {
		return nil
	}
	var cells [][]string
	for _, name := range metric.Names(d.Metrics) {
		s := d.Metrics[name]
		best, at := "–", "–"
		if s.BestStep != nil && metric.HasBest(name) {
			best, at = Metric(name, float64(s.Best)), fmt.Sprint(*s.BestStep)
		}
		cells = append(cells, []string{name, Metric(name, float64(s.First)), Metric(name, float64(s.Last)), best, at, fmt.Sprint(s.N)})
	}
	_, width := Terminal(w)
	columns, cells, right := fitColumns([]string{"metric", "first", "last", "best", "at step", "points"}, cells, []bool{false, true, true, true, true, true}, width, "points", "at step", "first")
	return section(w, columns, cells, right)
}

func showFacts(w io.Writer, d *store.RunDetail) error {
	var cells [][]string
	for key, v := range d.Facts {
		text := cell(plain(v))
		switch n := v.(type) {
		case int64:
			text = Count(float64(n))
		case float64:
			text = Count(n)
		}
		cells = append(cells, []string{key, text})
	}
	if len(cells) == 0 {
		return nil
	}
	sort.Slice(cells, func(i, j int) bool { return cells[i][0] < cells[j][0] })
	return section(w, []string{"fact", "value"}, cells, nil)
}

func showPlugins(w io.Writer, d *store.RunDetail) error {
	if len(d.Plugins) == 0 {
		return nil
	}
	cells := make([][]string, len(d.Plugins))
	for i, p := range d.Plugins {
		cells[i] = []string{p.Role, p.Name, p.Version, fmt.Sprintf("%.12s", p.SHA256)}
	}
	return section(w, []string{"role", "plugin", "version", "sha256"}, cells, nil)
}

// showEvents shows the last events, since the end of a run is what is asked for.
func showEvents(w io.Writer, d *store.RunDetail) error {
	if len(d.Events) == 0 {
		return nil
	}
	const most = 12
	events := d.Events[max(0, len(d.Events)-most):]
	cells := make([][]string, len(events))
	for i, e := range events {
		cells[i] = []string{fmt.Sprint(e.Step), e.Level, e.Kind, strings.ReplaceAll(e.Message, "\n", " ")}
	}
	title := "event"
	if len(events) < len(d.Events) {
		title = fmt.Sprintf("event (last %d of %d)", len(events), len(d.Events))
	}
	return section(w, []string{"step", "level", "kind", title}, cells, []bool{true, false, false, false})
}

func section(w io.Writer, columns []string, cells [][]string, right []bool) error {
	if err := Table(w, columns, cells, right); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func optional[N int64 | float64](v *N, write func(float64) string) string {
	if v == nil {
		return "–"
	}
	return write(float64(*v))
}

func rate(v float64) string {
	if math.Abs(v) >= 100 {
		return Count(math.Round(v))
	}
	return Number(roundTo(v, 1))
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// Minute shortens an ISO 8601 time to the minute: 2025-11-23 14:05.
func Minute(iso string) string {
	if len(iso) < 16 {
		return iso
	}
	return iso[:10] + " " + iso[11:16]
}

// JSONMap writes a JSON object as "a 1, b 2"; anything else as it is.
func JSONMap(raw json.RawMessage) string {
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil {
		return string(raw)
	}
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s %v", k, v))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
