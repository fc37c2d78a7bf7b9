// Package ask makes the page that answers SQL: a box, the views with their columns, questions to begin with, and the answer as a table, a
// plot, CSV or Parquet. Queries only read, within limits of time, rows and memory.
package ask

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tandem/core/fault"
	"tandem/core/results/export"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/web"
)

//go:embed ask.html ask.css ask.js
var files embed.FS

var _ = web.AddStatic(files, "ask.css", "ask.js")

var body = web.NewBody(files, "ask.html", functions)

// What an answer may be: that of the page, and one that is downloaded.
var (
	shown      = store.Limits{Time: 10 * time.Second, Rows: 1000, Bytes: 16 << 20}
	downloaded = store.Limits{Time: 10 * time.Second, Rows: 1 << 20, Bytes: 128 << 20}
)

// Add adds the page and its downloads to a site.
func Add(s *web.Site) {
	s.Page("GET /query", body, func(r *http.Request) (*web.View, error) {
		p, err := gather(r.Context(), s.Reader(), r.URL.Query())
		return &web.View{Title: "Query", Place: web.Place{Tab: "query"}, Data: p, Final: true}, err // asked again when a person wants it
	})
	s.Data("GET /query.csv", func(w http.ResponseWriter, r *http.Request) error {
		return download(w, r, s.Reader(), "csv", "text/csv; charset=utf-8", func(b *bytes.Buffer, t *store.Table) error {
			return report.Rows(b, report.CSV, t.Columns, t.Rows)
		})
	})
	s.Data("GET /query.parquet", func(w http.ResponseWriter, r *http.Request) error {
		return download(w, r, s.Reader(), "parquet", "application/vnd.apache.parquet", func(b *bytes.Buffer, t *store.Table) error {
			return export.Table(b, t)
		})
	})
}

// download answers with a file. It is made before it is sent, so no slow client keeps the database.
func download(w http.ResponseWriter, r *http.Request, reader *store.Reader, kind, mime string, write func(*bytes.Buffer, *store.Table) error) error {
	q := r.URL.Query()
	a, err := answer(r.Context(), reader, q, downloaded)
	if err != nil {
		return err
	}
	if a.Cut {
		return fault.New(fault.Exhausted, "query: there are over %s rows", report.Count(float64(downloaded.Rows))).
			WithHint("add LIMIT, or run it with `runner query --%s`", "csv")
	}
	var b bytes.Buffer
	if err := write(&b, &a.Table); err != nil {
		return err
	}
	w.Header().Set("Content-Type", mime)
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="query.%s"`, kind))
	_, _ = w.Write(b.Bytes()) // the client may be gone
	return nil
}

// answer runs the query of an address with the values of its parameters, arg.NAME.
func answer(ctx context.Context, reader *store.Reader, q url.Values, l store.Limits) (*store.Answer, error) {
	query := q.Get("sql")
	values := map[string]string{}
	for _, name := range parameters(query) {
		values[name] = q.Get("arg." + name)
	}
	a, err := reader.Ask(ctx, query, l, values)
	if err == nil && len(a.Columns) == 0 {
		return nil, fault.New(fault.Invalid, "query: it gives no columns").WithHint("write SELECT …")
	}
	return a, err
}

// problem is an error as the page shows it.
type problem struct{ Message, Hint string }

func newProblem(err error) *problem {
	p := &problem{Message: err.Error()}
	if f := new(fault.Error); errors.As(err, &f) {
		p.Hint = f.Hint
	}
	return p
}
