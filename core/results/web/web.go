// Package web is the frame of the live pages: an HTTP server that only reads a results database, the layout that its pages share, and
// the stream by which open pages learn that something has changed.
//
// A page is a template with a handler that fills it, added by Site.Page. A page that is open fetches itself again when the database
// changes and puts what differs in place (site.js), so a handler makes whole pages only. Packages below this one make the pages.
package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tandem/core/fault"
	"tandem/core/results/page"
	"tandem/core/results/store"
)

// Options says what a site shows.
type Options struct {
	RunsDir string      // the folder of runs, with the logs of their plugins; nothing outside it is read
	Albums  page.Albums // opens the pictures of evaluations; nil: pages show none
	Version string      // of the runner
}

// Site serves the pages of one results database.
type Site struct {
	Options
	reader *store.Reader
	mux    *http.ServeMux
	live   *live
}

// New makes a site without pages. The reader stays the caller's.
func New(reader *store.Reader, o Options) *Site {
	s := &Site{Options: o, reader: reader, mux: http.NewServeMux(), live: newLive(reader)}
	s.mux.Handle("GET /static/{version}/{name}", http.HandlerFunc(serveStatic))
	s.mux.Handle("GET /live", s.live)
	s.mux.Handle("GET /", s.answer(func(http.ResponseWriter, *http.Request) error {
		return fault.New(fault.NotFound, "there is no such page")
	}))
	return s
}

// Reader returns the database. Handlers keep no transaction open while they write to a client.
func (s *Site) Reader() *store.Reader { return s.reader }

// View is what a handler gives to be shown.
type View struct {
	Title string // of the window, without the name of the site
	Place Place
	Data  any  // what the page's template shows
	Final bool // nothing on the page will change any more: it does not follow the database
}

// Place says where in the site a page is: what the navigation marks.
type Place struct {
	Experiment string // "": none
	Run        string // "": none
	Tab        string // board, answer, flips, run, compare, query
}

// Page adds a page. The pattern is one of http.ServeMux, with its method. An error becomes a page that says so, with the status that its
// kind asks for.
func (s *Site) Page(pattern string, body *Body, handle func(*http.Request) (*View, error)) {
	s.mux.Handle(pattern, s.answer(func(w http.ResponseWriter, r *http.Request) error {
		v, err := handle(r)
		if err != nil {
			return err
		}
		return s.show(w, r, http.StatusOK, body, v)
	}))
}

// Data adds an address that gives something other than a page: JSON, CSV, a picture. When the handler fails, it has written nothing.
func (s *Site) Data(pattern string, handle func(http.ResponseWriter, *http.Request) error) {
	s.mux.Handle(pattern, s.answer(handle))
}

// answer makes a handler of one that may fail.
func (s *Site) answer(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		err := handle(w, r.WithContext(ctx))
		if to := Elsewhere(""); errors.As(err, &to) {
			http.Redirect(w, r, string(to), http.StatusFound)
		} else if err != nil {
			s.fail(w, r, err)
		}
	})
}

// Elsewhere is an error by which a handler sends the client to another address of the site.
type Elsewhere string

// Error implements error.
func (e Elsewhere) Error() string { return "see " + string(e) }

// longest limits how long a page may take.
const longest = 30 * time.Second

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	s.mux.ServeHTTP(w, r)
}

// statusOf returns the status of HTTP for an error.
func statusOf(err error) int {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unavailable, fault.Conflict, fault.Exhausted, fault.Canceled:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
