// Package home makes the first page of the site, the experiments, and the board of each.
package home

import (
	"embed"
	"net/http"

	"tandem/core/results/web"
)

//go:embed home.html
var files embed.FS

var homeBody = web.NewBody(files, "home.html", nil)

// Add adds the pages to a site.
func Add(s *web.Site) {
	s.Page("GET /{$}", homeBody, func(r *http.Request) (*web.View, error) {
		all, err := s.Reader().Overviews(r.Context())
		return &web.View{Title: "Experiments", Data: all}, err
	})
}
