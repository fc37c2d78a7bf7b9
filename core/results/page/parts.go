package page

import (
	"bytes"
	"html/template"
	"math"
	"slices"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

// parts holds the sections of a page; assets/page.html puts them together in one file.
var parts = template.Must(template.New("parts").Funcs(template.FuncMap{
	"named": named, "text": fault.Printable, "percent": report.Percent, "share": shareText, "whole": wholePercent, "count": countText, "duration": report.Duration,
	"minute": report.Minute, "short": metric.Short, "value": valueText, "plural": report.Plural, "column": columnOf, "level": levelText,
}).Parse(asset("parts.html")))

// view holds what the sections show.
type view struct {
	*Page
	Answer   Answer
	Ablation template.HTML
	Charts   charts
	Learning []Learning
	Undrawn  bool // variants without a colour are left out of the curves
	Totals   totals
	Live     bool // on a page that follows the database

	Narrowing []Narrowing // on such a page
}

// totals sums over the runs.
type totals struct {
	Seconds, DeviceHours float64
}

// newView gathers what the sections of p show.
func newView(p *Page) (*view, error) {
	var table bytes.Buffer
	if err := report.AblationHTML(&table, p.Table); err != nil {
		return nil, fault.New(fault.Internal, "ablation table: %w", err)
	}
	v := &view{Page: p, Answer: answer(p), Ablation: template.HTML(table.String()), Charts: newCharts(p)}
	for _, r := range p.Table.Rows {
		if r.Role == ablation.IsVariant && !r.HasSame && r.Rank > 0 && !slices.Contains(p.Drawn, r.Variant) {
			v.Undrawn = true
		}
	}
	for _, c := range p.Curves {
		v.Learning = append(v.Learning, learning(c))
	}
	for _, r := range p.Runs {
		v.Totals.Seconds += r.Seconds
		v.Totals.DeviceHours += r.DeviceHours
	}
	return v, nil
}

// NoBars reports whether no narrowing has intervals.
func (v *view) NoBars() bool {
	return !slices.ContainsFunc(v.Narrowing, func(n Narrowing) bool {
		return slices.ContainsFunc(n.Points, func(p Narrowed) bool { return !math.IsNaN(p.Low) })
	})
}

// Pooled reports whether the table knows the noise from all variants.
func (v *view) Pooled() bool { return v.Table.Analysis == ablation.Pooled }

// Parts holds the sections of a page as HTML, for pages that arrange them themselves. Data is the script element with what page.js
// draws; it stands behind the sections. A section that has nothing to show is empty.
type Parts struct {
	Summary, Means, Search, Table, Narrowing, Curves, Cost, Settings, Environment, Runs, Data template.HTML
}

// Parts makes the sections of a page that follows the database; its predictions have pages of their own.
func (p *Page) Parts() (*Parts, error) {
	v, err := newView(p)
	if err != nil {
		return nil, err
	}
	v.Live, v.Narrowing = true, narrowing(p)
	v.Charts.Narrowing = chartNarrowings(v.Narrowing, colours(p))
	out := &Parts{}
	for name, part := range map[string]*template.HTML{
		"summary": &out.Summary, "means": &out.Means, "search": &out.Search, "table": &out.Table, "narrowing": &out.Narrowing, "curves": &out.Curves, "cost": &out.Cost,
		"settings": &out.Settings, "environment": &out.Environment, "runs": &out.Runs, "data": &out.Data,
	} {
		var b bytes.Buffer
		if err := parts.ExecuteTemplate(&b, name, v); err != nil {
			return nil, fault.New(fault.Internal, "page: %w", err)
		}
		*part = template.HTML(b.String())
	}
	return out, nil
}
