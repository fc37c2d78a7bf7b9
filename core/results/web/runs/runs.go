// Package runs makes the page of a run: its curves, what its plugins wrote, its settings with the place of each, where it ran and what
// became of it.
package runs

import (
	"context"
	"embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/board"
	"tandem/core/results/decimate"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/curves"
)

//go:embed run.html run.css
var files embed.FS

var _ = web.AddStatic(files, "run.css")

var body = web.NewBody(files, "run.html", functions())

// functions are what the page's template calls beside those of the site.
func functions() template.FuncMap {
	f := maps.Clone(curves.Functions)
	f["float"] = func(n int64) float64 { return float64(n) }
	f["minute"], f["second"] = minute, second
	f["digest"] = func(s string) string { return s[:min(12, len(s))] }
	return f
}

// mostMetrics limits the metrics of one chart's data.
const mostMetrics = 64

// Add adds the page and the data of its curves to a site. Curves of charts of several runs come from /curves.
func Add(s *web.Site) {
	decimator := web.Of(s, func(r *store.Reader) *decimate.Decimator { return decimate.New(r) })
	s.Page("GET /run/{id}", body, func(r *http.Request) (*web.View, error) {
		id, err := resolve(r, s.Reader(), func(id string) string { return web.RunPath(id) })
		if err != nil {
			return nil, err
		}
		p, err := gather(r.Context(), s, id)
		if err != nil {
			return nil, err
		}
		return &web.View{Title: "Run " + id, Place: web.Place{Experiment: p.Run.Experiment, Run: id, Tab: "run"}, Data: p, Final: isFinal(p.Run.Status)}, nil
	})
	s.Data("GET /run/{id}/curve", func(w http.ResponseWriter, r *http.Request) error {
		id, err := resolve(r, s.Reader(), func(id string) string { return web.RunPath(id) + "/curve" })
		if err != nil {
			return err
		}
		names := r.URL.Query()["metric"]
		if len(names) == 0 || len(names) > mostMetrics {
			return fault.New(fault.Invalid, "%d metrics are asked for", len(names)).WithHint("?metric=train/loss, %d at most", mostMetrics)
		}
		all := make([]curves.One, len(names))
		for i, n := range names {
			all[i] = curves.One{Run: id, Metric: n}
		}
		return curves.Serve(w, r, s.Reader(), decimator(), all)
	})
	s.Data("GET /curves", func(w http.ResponseWriter, r *http.Request) error {
		q := r.URL.Query()
		all := make([]curves.One, len(q["run"]))
		for i, id := range q["run"] {
			all[i] = curves.One{Run: id, Metric: q.Get("metric")}
		}
		return curves.Serve(w, r, s.Reader(), decimator(), all)
	})
}

// resolve returns the id that an address means. A prefix and latest are sent to the full one.
func resolve(r *http.Request, reader *store.Reader, path func(id string) string) (string, error) {
	ref := r.PathValue("id")
	id, err := reader.FindRun(r.Context(), ref)
	if err != nil {
		return "", err
	}
	if id != ref {
		to := url.URL{Path: path(id), RawQuery: r.URL.RawQuery}
		return "", web.Elsewhere(to.String())
	}
	return id, nil
}

// isFinal reports whether nothing more is recorded of a run with a status, but of evaluations after the fact.
func isFinal(status string) bool {
	return status == string(clip.StatusDone) || status == string(clip.StatusStopped)
}

// progress returns how far a run is, nil when no process makes it.
func progress(ctx context.Context, r *store.Reader, run *store.RunDetail) (*board.Run, error) {
	if run.Status != string(clip.StatusRunning) {
		return nil, nil
	}
	all, err := board.Now(ctx, r)
	for i := range all {
		if all[i].Run == run.ID {
			return &all[i], err
		}
	}
	return nil, err
}
