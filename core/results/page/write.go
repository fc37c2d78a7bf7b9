package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"tandem/core/fault"
	"tandem/core/results/report"
)

// assets holds what the page is made of; tools/page-assets.sh fetches the libraries again.
//
//go:embed assets/page.html assets/parts.html assets/page.css assets/page.js assets/d3.min.js assets/plot.umd.min.js assets/LICENSES.txt
var assets embed.FS

func asset(name string) string {
	data, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic("page: " + err.Error()) // embedded
	}
	return string(data)
}

// Assets returns the style and the scripts of pages, by the names of their files, for pages that are not one file.
func Assets() map[string]string {
	files := map[string]string{}
	for _, name := range []string{"page.css", "page.js", "d3.min.js", "plot.umd.min.js"} {
		files[name] = asset(name)
	}
	return files
}

// layout is the page as one file: the parts with what they need beside them.
var layout = template.Must(template.Must(parts.Clone()).New("page").Parse(asset("page.html")))

// file holds what the layout shows.
type file struct {
	*view
	Style    template.CSS
	D3, Plot template.JS
	Script   template.JS
	Licences string
}

// Write writes the page. Errors are those of w.
func Write(w io.Writer, p *Page) error {
	v, err := newView(p)
	if err != nil {
		return err
	}
	f := file{
		view: v, Style: template.CSS(asset("page.css")), D3: template.JS(asset("d3.min.js")), Plot: template.JS(asset("plot.umd.min.js")),
		Script: template.JS(asset("page.js")), Licences: asset("LICENSES.txt"),
	}
	// Written at once: a page that breaks off in the middle is none.
	var b bytes.Buffer
	if err := layout.Execute(&b, f); err != nil {
		return fault.New(fault.Internal, "page: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func levelText(v float64) string { return report.Number(100*v) + " %" }

func shareText(v float64) string { return fmt.Sprintf("%.3f", v) }

func wholePercent(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", 100*v)
}

func countText(v any) string {
	switch v := v.(type) {
	case int64:
		if v > 0 {
			return report.Count(float64(v))
		}
	case float64:
		if v > 0 {
			return report.Count(v)
		}
	}
	return "–"
}

func valueText(metric string, v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return report.Metric(metric, v)
}

// columnOf names column i of a matrix.
func columnOf(o *Outcome, m *Matrix, i int) string {
	if i < len(m.Classes) {
		return o.Name(m.Classes[i])
	}
	return "any other"
}
