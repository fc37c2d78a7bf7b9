// Package home makes the first page of the site, the experiments, and the board of each.
package home

import (
	"context"
	"embed"
	"net/http"

	"tandem/core/results/board"
	"tandem/core/results/store"
	"tandem/core/results/web"
)

//go:embed *.html
var files embed.FS

var (
	homeBody  = web.NewBody(files, "home.html", functions, "runs.html")
	boardBody = web.NewBody(files, "board.html", functions, "runs.html")
)

// newest is how many runs the first page lists, and mostRuns how many the board of an experiment without a plan does.
const (
	newest   = 12
	mostRuns = 100
)

// Add adds the pages to a site.
func Add(s *web.Site) {
	s.Page("GET /{$}", homeBody, func(r *http.Request) (*web.View, error) {
		p, err := first(r.Context(), s.Reader())
		return &web.View{Title: "Experiments", Data: p}, err
	})
	s.Page("GET /e/{experiment}", boardBody, func(r *http.Request) (*web.View, error) {
		name := r.PathValue("experiment")
		p, err := boardOf(r.Context(), s.Reader(), name)
		return &web.View{Title: name, Place: web.Place{Experiment: name, Tab: "board"}, Data: p}, err
	})
}

// firstPage is what the first page shows.
type firstPage struct {
	Path        string
	Experiments []experiment
	Now         []board.Run
	Newest      []store.RunInfo
}

type experiment struct {
	store.Overview
	Running int
}

func first(ctx context.Context, r *store.Reader) (*firstPage, error) {
	p := &firstPage{Path: r.Path()}
	all, err := r.Overviews(ctx)
	if err != nil {
		return nil, err
	}
	if p.Now, err = board.Now(ctx, r); err != nil {
		return nil, err
	}
	running := map[string]int{}
	for _, x := range p.Now {
		running[x.Experiment]++
	}
	for _, o := range all {
		p.Experiments = append(p.Experiments, experiment{o, running[o.Name]})
	}
	p.Newest, err = r.Runs(ctx, store.Filter{Limit: newest})
	return p, err
}
