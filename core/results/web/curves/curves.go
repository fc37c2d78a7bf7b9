// Package curves draws curves on live pages: which metrics share a chart, the chart's place on the page, and the data that its script
// asks for, as short as the chart is wide.
//
// A page loads curves.css, uPlot.iife.min.js and curves.js, which registers here, and has the template functions of Functions. The
// script keeps what a person chooses (axis, smoothing, scale, part) in the page's address.
package curves

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"html/template"

	"tandem/core/results/metric"
	"tandem/core/results/web"
)

//go:embed curves.html curves.js curves.css
var files embed.FS

var _ = web.AddStatic(files, "curves.js", "curves.css")

// Line is a line of a chart.
type Line struct {
	Label  string // in the legend
	Link   string // "": none
	Colour int    // 0 is the baseline's, 1 to 8 are others
	Dash   int    // 0 is a full line
}

// Chart is a chart of several lines. Source is the address of its data, which has the series in the order of Lines.
type Chart struct {
	Title  string
	Metric string // whose unit the values have
	Source string
	Lines  []Line
}

// ID names the place of a chart on its page; another choice of lines has another name.
func (c Chart) ID() string {
	sum := sha256.Sum256([]byte(c.Source))
	return "chart-" + hex.EncodeToString(sum[:6])
}

// Unit returns how the script writes values.
func (c Chart) Unit() string {
	switch metric.UnitOf(c.Metric) {
	case metric.Share:
		return "share"
	case metric.Milliseconds:
		return "ms"
	case metric.PerSecond:
		return "/s"
	}
	return ""
}

// Styles returns the lines' colours and dashes for the script.
func (c Chart) Styles() (string, error) {
	all := make([][2]int, len(c.Lines))
	for i, l := range c.Lines {
		all[i] = [2]int{l.Colour, l.Dash}
	}
	text, err := json.Marshal(all)
	return string(text), err
}

// Axes says what the horizontal axis may be beside the step.
type Axes struct {
	Samples, Time bool
	TimeFrom      string // the metric that times are derived from
}

var parts = template.Must(template.New("curves.html").Funcs(template.FuncMap{"text": web.Text}).ParseFS(files, "curves.html"))

// Functions are the template functions that draw charts: "chart" takes a Chart, "controls" takes Axes.
var Functions = template.FuncMap{
	"chart":    func(c Chart) (template.HTML, error) { return part("chart", c) },
	"controls": func(a Axes) (template.HTML, error) { return part("controls", a) },
}

func part(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := parts.ExecuteTemplate(&b, name, data)
	return template.HTML(b.String()), err
}
