// Package web is the frame of the live pages: an HTTP server that only reads a results database, the layout that its pages share, and
// the stream by which open pages learn that something has changed.
//
// A page is a template with a handler that fills it, added by Site.Page. A page that is open fetches itself again when the database
// changes and puts what differs in place (site.js), so a handler makes whole pages only. Each page is made once for each state of the
// database, however many people look at it. Packages below this one make the pages.
package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tandem/core/fault"
	"tandem/core/results/page"
	"tandem/core/results/store"
	"tandem/core/results/web/guard"
)

// Options says what a site shows.
type Options struct {
	RunsDir string      // the folder of runs, with the logs of their plugins; nothing outside it is read
	Albums  page.Albums // opens the pictures of evaluations; nil: pages show none
	Version string      // of the runner
	// Share is the part of a core that the process may take to keep open pages as the database is. They are told less often of what is
	// dear to make, so that trainings on the same machine do not notice how many people look. 0: there is no limit.
	Share float64
}

// Site serves the pages of one results database.
type Site struct {
	Options
	born  int64 // when it was made
	db    *database
	mux   *http.ServeMux
	live  *live
	cache *cache
}

// New makes a site without pages. The reader stays the caller's.
func New(reader *store.Reader, o Options) *Site { return newSite(&database{reader: reader}, o) }

// Follow makes a site without pages of the database at path, which may not be there yet, and may be replaced. Close ends it. Errors: as
// store.OpenReader, but not fault.NotFound.
func Follow(path string, o Options) (*Site, error) {
	s := newSite(&database{path: path}, o)
	if _, err := s.db.Reader(); err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	return s, nil
}

func newSite(db *database, o Options) *Site {
	s := &Site{Options: o, born: time.Now().UnixNano(), db: db, mux: http.NewServeMux(), cache: newCache()}
	s.live = newLive(s)
	s.mux.Handle("GET /static/{version}/{name}", http.HandlerFunc(serveStatic))
	s.mux.Handle("GET /live", s.live)
	s.mux.Handle("GET /", s.answer(func(http.ResponseWriter, *http.Request) error {
		return fault.New(fault.NotFound, "there is no such page")
	}))
	return s
}

// Close closes the database of a site that Follow made.
func (s *Site) Close() { s.db.Close() }

// Reader returns the database, for handlers while they answer: another request may get another one. Handlers keep no transaction open
// while they write to a client.
func (s *Site) Reader() *store.Reader {
	r, _ := s.db.Reader()
	if r == nil {
		panic(http.ErrAbortHandler) // it vanished since answer looked; the page asks again
	}
	return r
}

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
	s.mux.Handle(pattern, s.answer(s.once(func(w http.ResponseWriter, r *http.Request) error {
		v, err := handle(r)
		if err != nil {
			return err
		}
		return s.show(w, r, http.StatusOK, body, v)
	})))
}

// Data adds an address that gives something other than a page: JSON, CSV, a picture. When the handler fails, it has written nothing.
func (s *Site) Data(pattern string, handle func(http.ResponseWriter, *http.Request) error) {
	s.mux.Handle(pattern, s.answer(s.once(handle)))
}

// answer makes a handler of one that may fail and needs the database.
func (s *Site) answer(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * longest)) // recorders of tests have none
		r = r.WithContext(context.WithValue(ctx, stateKey{}, s.version()))
		_, err := s.db.Reader()
		if err == nil {
			s.db.MarkDead(ctx)
			err = handle(w, r)
		}
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
	guard.Headers(w.Header())
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
