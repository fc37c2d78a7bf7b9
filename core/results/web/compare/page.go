package compare

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/curves"
)

// comparePage is what the page shows.
type comparePage struct {
	IDs         []string
	Runs        []column
	Settings    grid // that differ
	Metrics     grid
	Environment grid // that differs
	Axes        curves.Axes
	Charts      []curves.Chart
	Choices     []choice // metrics that may be drawn
	Asked       []string // metrics that the address names
	Newest      []store.RunInfo
	Experiments []string
}

// column is a run.
type column struct {
	store.RunInfo
	Line  curves.Line
	Time  string
	Value string
}

// choice is a metric that is or is not drawn.
type choice struct {
	Metric string
	Drawn  bool
}

// isFinal reports whether nothing more is recorded of the runs.
func (p *comparePage) isFinal() bool {
	return len(p.Runs) > 0 && !slices.ContainsFunc(p.Runs, func(c column) bool {
		return c.Status != string(clip.StatusDone) && c.Status != string(clip.StatusStopped)
	})
}

// defaultCharts is how many metrics are drawn where the address names none, and mostCharts how many it may name.
const (
	defaultCharts = 6
	mostCharts    = 24
)

func gather(ctx context.Context, r *store.Reader, ids, asked []string) (*comparePage, error) {
	p := &comparePage{IDs: ids, Asked: asked}
	var err error
	if p.Newest, err = r.Runs(ctx, store.Filter{Limit: listed}); err != nil {
		return nil, err
	}
	if p.Experiments, err = r.Experiments(ctx); err != nil {
		return nil, err
	}
	// A list of the browser shows names as they are, so it has none that would not be shown so elsewhere.
	p.Experiments = slices.DeleteFunc(p.Experiments, func(name string) bool { return web.Text(name) != name })
	if len(ids) == 0 {
		return p, nil
	}
	c, err := r.Compare(ctx, ids...)
	if err != nil {
		return nil, err
	}
	lines, err := styles(ctx, r, c.Runs)
	if err != nil {
		return nil, err
	}
	for i, run := range c.Runs {
		x := column{RunInfo: run, Line: lines[i], Time: report.Duration(run.DurationS)}
		if run.Value != nil {
			x.Value = report.Metric(run.Metric, float64(*run.Value))
		}
		p.Runs = append(p.Runs, x)
	}
	details, err := r.Summaries(ctx, ids, "")
	if err != nil {
		return nil, err
	}
	p.Settings, p.Metrics, p.Environment = settings(c, lines), metrics(c, lines), environment(ids, details, lines)
	p.addCharts(c)
	return p, nil
}

// addCharts chooses the metrics that are drawn.
func (p *comparePage) addCharts(c *store.Comparison) {
	all := map[string]bool{}
	p.Axes = curves.Axes{Samples: isSet(c, "train.batch_size"), Time: everywhere(c, metric.SamplesPerS) || everywhere(c, metric.StepMS), TimeFrom: "the throughput of each run"}
	p.Axes.Time = p.Axes.Time && p.Axes.Samples
	for _, m := range c.Metrics {
		all[m.Metric] = true
	}
	names := metric.Names(all)
	drawn := slices.DeleteFunc(slices.Clone(p.Asked), func(name string) bool { return !all[name] })
	if len(drawn) == 0 {
		drawn = telling(names, c.Runs[0].Metric)
	}
	drawn = drawn[:min(len(drawn), mostCharts)]
	for _, name := range names {
		p.Choices = append(p.Choices, choice{name, slices.Contains(drawn, name)})
	}
	for _, name := range drawn {
		chart := curves.Chart{Title: name, Metric: name, Source: "/curves?" + url.Values{"metric": {name}, "run": p.IDs}.Encode()}
		for _, r := range p.Runs {
			chart.Lines = append(chart.Lines, r.Line)
		}
		p.Charts = append(p.Charts, chart)
	}
}

// telling returns the metrics that are drawn where nobody chose: the loss, the one that decides, and those that tell most.
func telling(names []string, decides string) (drawn []string) {
	rank := func(name string) int {
		switch {
		case name == metric.TrainLoss:
			return 0
		case name == decides:
			return 1
		case metric.IsTelling(name):
			return 2
		}
		return 3
	}
	drawn = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return rank(name) == 3 })
	if len(drawn) == 0 {
		drawn = slices.Clone(names)
	}
	slices.SortStableFunc(drawn, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return drawn[:min(len(drawn), defaultCharts)]
}

// everywhere reports whether all runs have a metric.
func everywhere(c *store.Comparison, name string) bool {
	return slices.ContainsFunc(c.Metrics, func(m store.MetricComparison) bool { return m.Metric == name && !slices.Contains(m.Values, nil) })
}

// isSet reports whether no run lacks a setting. What all have alike is not among those that differ.
func isSet(c *store.Comparison, key string) bool {
	return !slices.ContainsFunc(c.Params, func(p store.ParamComparison) bool { return p.Key == key && slices.Contains(p.Values, nil) })
}

// styles gives the runs of a variant one colour. Where all are of one experiment, a variant has the colour of its place in the design,
// whichever others are compared; otherwise that of its place among the runs.
func styles(ctx context.Context, r *store.Reader, runs []store.RunInfo) ([]curves.Line, error) {
	type key struct{ experiment, variant string }
	var order []key
	add := func(k key) {
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	one := !slices.ContainsFunc(runs, func(i store.RunInfo) bool { return i.Experiment != runs[0].Experiment })
	baseline := ""
	if one {
		e, err := r.Experiment(ctx, runs[0].Experiment)
		if err != nil {
			return nil, err
		}
		cells, err := r.Cells(ctx, e.Name)
		if err != nil {
			return nil, err
		}
		baseline = e.Baseline
		for _, c := range cells {
			if c.Variant != baseline {
				add(key{e.Name, c.Variant})
			}
		}
	}
	for _, i := range runs {
		add(key{i.Experiment, i.Variant})
	}
	same := !slices.ContainsFunc(runs, func(i store.RunInfo) bool { return i.Variant != runs[0].Variant }) && one
	lines := make([]curves.Line, len(runs))
	for i, run := range runs {
		at := slices.Index(order, key{run.Experiment, run.Variant})
		if same {
			at = i
		}
		lines[i] = curves.Line{Label: label(run, one), Link: web.RunPath(run.ID), Colour: 1 + at%8, Dash: at / 8 % 5}
		if one && !same && run.Variant == baseline && baseline != "" {
			lines[i].Colour, lines[i].Dash = 0, 0
		}
	}
	return lines, nil
}

// label names a run in a legend.
func label(r store.RunInfo, one bool) string {
	parts := []string{cmp.Or(r.Variant, r.ID), fmt.Sprintf("seed %d", r.Seed)}
	if !one {
		parts = append([]string{r.Experiment}, parts...)
	}
	return strings.Join(parts, ", ")
}

// incidental lists the settings that the list of runs has already.
var incidental = []string{"name", "description", "variant", "seed"}

func settings(c *store.Comparison, runs []curves.Line) grid {
	g := newGrid(runs)
	for _, p := range c.Params {
		if slices.Contains(incidental, p.Key) {
			continue
		}
		row := make([]cell, len(p.Values))
		for i, v := range p.Values {
			row[i] = cell{Text: setting(v)}
		}
		g.add(p.Key, row)
	}
	return g.done()
}

func setting(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case json.RawMessage:
		return string(v)
	case float64:
		return report.Number(v)
	}
	return fmt.Sprint(v)
}

func metrics(c *store.Comparison, runs []curves.Line) grid {
	g := newGrid(runs)
	all := slices.Clone(c.Metrics)
	slices.SortFunc(all, func(a, b store.MetricComparison) int { return metric.Compare(a.Metric, b.Metric) })
	for _, m := range all {
		best, n := math.Inf(-1), 0
		for _, v := range m.Values {
			if v != nil && !math.IsNaN(float64(*v)) {
				best, n = max(best, m.Better*float64(*v)), n+1
			}
		}
		row := make([]cell, len(m.Values))
		for i, v := range m.Values {
			row[i] = cell{Text: "–", Number: true}
			if v != nil {
				row[i].Text = report.Metric(m.Metric, float64(*v))
				row[i].Best = n > 1 && m.Better != 0 && m.Better*float64(*v) == best
			}
		}
		g.add(m.Metric, row)
	}
	return g.done()
}

// environment sets side by side where runs ran and what they used, as far as it differs.
func environment(ids []string, details map[string]*store.RunDetail, runs []curves.Line) grid {
	rows := map[string][]string{}
	var order []string
	for i, id := range ids {
		d := details[id]
		if d == nil {
			continue
		}
		put := func(name, value string) {
			if rows[name] == nil {
				rows[name] = make([]string, len(ids))
				order = append(order, name)
			}
			rows[name][i] = value
		}
		put("host", fmt.Sprintf("%s, %d cores", d.Host, d.Cores))
		put("device", d.Device)
		put("libraries", report.JSONMap(d.Libraries))
		put("threads", report.JSONMap(d.Threads))
		commit := d.GitCommit
		if d.GitDirty {
			commit += ", with uncommitted changes"
		}
		put("git commit", commit)
		put("training data", short(d.DatasetDigest))
		for _, p := range d.Plugins {
			put("plugin: "+p.Role, strings.TrimSpace(p.Name+" "+p.Version)+", sha256 "+short(p.SHA256))
		}
	}
	g := newGrid(runs)
	for _, name := range order {
		values := rows[name]
		if !slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			continue
		}
		row := make([]cell, len(values))
		for i, v := range values {
			row[i] = cell{Text: cmp.Or(v, "–")}
		}
		g.add(name, row)
	}
	return g.done()
}

func short(digest string) string { return digest[:min(12, len(digest))] }
