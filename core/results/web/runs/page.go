package runs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"tandem/core/results/board"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/curves"
)

// runPage is what the page of a run shows.
type runPage struct {
	Run         *store.RunDetail
	Now         *board.Run // nil: no process makes it
	Part        int        // of its steps that are made, in hundredths
	Facts       []fact
	Axes        curves.Axes
	Groups      []group
	Metrics     []measured
	Spec        spec
	Logs        []log
	LogsNote    string
	Events      []store.Event // the last ones
	EventsLeft  int
	Environment []fact
}

// fact is a line of a list.
type fact struct{ Name, Value string }

// group is charts of metrics with one beginning.
type group struct {
	Name   string
	Charts []curves.Chart
}

// measured is the row of a metric.
type measured struct {
	Name, First, Last, Best, BestStep string
	LastStep                          int
	Points                            int64
}

const mostEvents = 100

func gather(ctx context.Context, s *web.Site, id string) (*runPage, error) {
	d, err := s.Reader().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	p := &runPage{Run: d, Axes: axes(d), Groups: charts(d), Metrics: metrics(d), Environment: environment(d)}
	if p.Now, err = progress(ctx, s.Reader(), d); err != nil {
		return nil, err
	}
	if p.Now != nil && p.Now.Steps > 0 {
		p.Part = int(100 * p.Now.Step / p.Now.Steps)
	}
	p.Facts = facts(d)
	p.EventsLeft = max(0, len(d.Events)-mostEvents)
	p.Events = slices.Clone(d.Events[p.EventsLeft:])
	slices.Reverse(p.Events)
	folder, err := open(s.RunsDir, id)
	if err != nil {
		p.Spec, p.LogsNote = spec{Lines: lines(d.Spec, ""), Note: err.Error()}, err.Error()
		return p, nil
	}
	defer folder.Close()
	p.Spec = folder.spec(d.Spec)
	p.Logs, p.LogsNote = folder.logs()
	return p, nil
}

// axes tells what the horizontal axis of a run's curves may be.
func axes(d *store.RunDetail) curves.Axes {
	var a curves.Axes
	switch size := d.Params["train.batch_size"].(type) {
	case int64:
		a.Samples = size > 0
	case float64:
		a.Samples = size > 0
	}
	switch {
	case d.Metrics[metric.StepMS].N > 0:
		a.Time, a.TimeFrom = true, metric.StepMS
	case d.Metrics[metric.SamplesPerS].N > 0 && a.Samples:
		a.Time, a.TimeFrom = true, metric.SamplesPerS+" and the size of the batches"
	}
	return a
}

// charts makes a chart of metrics that belong together, of those with more than one point.
func charts(d *store.RunDetail) (all []group) {
	names := slices.DeleteFunc(metric.Names(d.Metrics), func(name string) bool { return d.Metrics[name].N < 2 })
	for _, g := range curves.Groups(names) {
		one := group{Name: g.Name}
		for _, shared := range g.Shared {
			c := curves.Chart{Title: shared.Title, Metric: shared.Metrics[0], Source: web.RunPath(d.ID) + "/curve?" + url.Values{"metric": shared.Metrics}.Encode()}
			for i, name := range shared.Metrics {
				c.Lines = append(c.Lines, curves.Line{Label: label(g.Name, name), Colour: 1 + i%8, Dash: i % 5})
			}
			one.Charts = append(one.Charts, c)
		}
		all = append(all, one)
	}
	return all
}

// label shortens the name of a metric below the name of its group.
func label(group, name string) string { return cmp.Or(strings.TrimPrefix(name, group+"/"), name) }

func metrics(d *store.RunDetail) (all []measured) {
	for _, name := range metric.Names(d.Metrics) {
		s := d.Metrics[name]
		m := measured{Name: name, First: report.Metric(name, float64(s.First)), Last: report.Metric(name, float64(s.Last)), LastStep: s.LastStep, Best: "–", BestStep: "–", Points: s.N}
		if s.BestStep != nil && metric.HasBest(name) {
			m.Best, m.BestStep = report.Metric(name, float64(s.Best)), report.Count(float64(*s.BestStep))
		}
		all = append(all, m)
	}
	return all
}

// facts returns what is said of a run first.
func facts(d *store.RunDetail) (all []fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, value})
		}
	}
	if d.Value != nil {
		add(d.Metric, report.Metric(d.Metric, float64(*d.Value)))
	}
	add("Seed", fmt.Sprint(d.Seed))
	add("Started", minute(d.StartedAt))
	add("Time", report.Duration(d.DurationS))
	add("Steps", whole(d.Steps))
	add("Samples seen", number(d.SamplesSeen))
	add("Samples a second", number(d.ImagesPerS))
	if d.StepMS != nil {
		add("Step", report.Duration(*d.StepMS/1000))
	}
	if s, ok := d.Metrics[metric.DataWaitMS]; ok {
		add("Waiting for data", report.Duration(float64(s.Mean)/1000)+" of a step")
	}
	add("Parameters", whole(d.Parameters))
	return all
}

func whole(n *int64) string {
	if n == nil {
		return ""
	}
	return report.Count(float64(*n))
}

func number(n *float64) string {
	if n == nil {
		return ""
	}
	return report.Count(*n)
}

// minute shortens an ISO 8601 time to the minute.
func minute(iso string) string {
	if len(iso) < 16 {
		return iso
	}
	return report.Minute(iso) + " UTC"
}

// second shortens an ISO 8601 time to the second.
func second(iso string) string {
	if len(iso) < 19 {
		return iso
	}
	return iso[:10] + " " + iso[11:19]
}

func environment(d *store.RunDetail) (all []fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, value})
		}
	}
	commit := d.GitCommit
	if d.GitDirty {
		commit += ", with uncommitted changes"
	}
	add("host", fmt.Sprintf("%s, %d cores, process %d", d.Host, d.Cores, d.PID))
	add("device", d.Device)
	add("libraries", report.JSONMap(d.Libraries))
	add("threads", report.JSONMap(d.Threads))
	add("git commit", commit)
	add("training data", d.DatasetDigest)
	add("identity", d.Identity)
	for _, key := range slices.Sorted(maps.Keys(d.Facts)) {
		text := fmt.Sprint(d.Facts[key])
		switch n := d.Facts[key].(type) {
		case int64:
			text = report.Count(float64(n))
		case float64:
			text = report.Count(n)
		}
		add(key, text)
	}
	return all
}
