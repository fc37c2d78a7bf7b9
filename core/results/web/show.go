package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/results/report"
)

// assets holds the layout, the style and the scripts of the site. tools/page-assets.sh fetches the libraries again.
//
//go:embed assets
var assets embed.FS

// Body is the template of a page's main part.
type Body struct{ layout *template.Template }

// NewBody reads the template "main" from a file, and others that it uses from further ones. It has the functions of the site (functions)
// and those of funcs. A faulty template is a fault of the program, so NewBody panics.
func NewBody(files fs.FS, name string, funcs template.FuncMap, more ...string) *Body {
	t := template.Must(template.New("layout.html").Funcs(functions).Funcs(funcs).ParseFS(assets, "assets/layout.html"))
	return &Body{template.Must(t.ParseFS(files, append(more, name)...))}
}

// functions are what templates of all pages may call.
var functions = template.FuncMap{
	"static":         staticPath,
	"experimentPath": ExperimentPath,
	"runPath":        RunPath,
	"text":           Text,
	"short":          metric.Short,
	"value": func(metric string, v any) (string, error) {
		return written(v, func(f float64) string { return report.Metric(metric, f) })
	},
	"plural":   report.Plural,
	"minute":   report.Minute,
	"percent":  func(v any) (string, error) { return written(v, report.Percent) },
	"count":    func(v any) (string, error) { return written(v, report.Count) },
	"duration": func(v any) (string, error) { return written(v, report.Duration) }, // of seconds, or a time.Duration
	"bytes":    report.Bytes,
	"json":     jsonOf,
	"left":     Left,
}

// written writes a number of any type; a pointer to none is a dash.
func written(v any, write func(float64) string) (string, error) {
	if d, ok := v.(time.Duration); ok {
		return write(d.Seconds()), nil
	}
	x := reflect.ValueOf(v)
	if x.Kind() == reflect.Pointer {
		if x.IsNil() {
			return "–", nil
		}
		x = x.Elem()
	}
	switch {
	case x.CanInt():
		return write(float64(x.Int())), nil
	case x.CanFloat():
		return write(x.Float()), nil
	}
	return "", fault.New(fault.Internal, "%v is no number", v)
}

// ExperimentPath returns the address of a page of an experiment; tab is "", answer or flips.
func ExperimentPath(name, tab string) string {
	p := "/e/" + url.PathEscape(name)
	if tab != "" {
		p += "/" + tab
	}
	return p
}

// RunPath returns the address of a run's page.
func RunPath(id string) string { return "/run/" + url.PathEscape(id) }

// Left writes a time that is estimated, coarsely: it would otherwise never stand still. "" for a negative one, which is not known.
func Left(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < 10*time.Second:
		return "10 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(5*time.Second).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %02d h", int(d.Hours())/24, int(d.Hours())%24)
}

// Text returns a text of a user or a plugin as a page shows it: characters that are not shown, terminal codes among them, in their
// written form. Templates escape what HTML gives a meaning.
func Text(s string) string { return fault.Printable(s) }

// jsonOf writes a value for a script element of type application/json.
func jsonOf(v any) (template.JS, error) {
	data, err := json.Marshal(v) // escapes <, > and &
	return template.JS(data), err
}

// frame holds what the layout shows.
type frame struct {
	*View
	Version string // of the runner
	Now     string
	Notice  string // of the database
	State   string // of the database, when the page was made
}

// show writes a page.
func (s *Site) show(w http.ResponseWriter, r *http.Request, status int, body *Body, v *View) error {
	var b bytes.Buffer // written at once: a page that breaks off in the middle is none
	f := frame{View: v, Version: s.Version, Notice: s.db.Notice(), State: stateOf(r.Context()), Now: time.Now().UTC().Format("2006-01-02 15:04:05 UTC")}
	if err := body.layout.Execute(&b, f); err != nil {
		return fault.New(fault.Internal, "page: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone
	return nil
}

var errorBody = NewBody(assets, "assets/error.html", nil)

// fail shows an error.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, fault.Printable(err.Error()), status)
		return
	}
	message, hint := err.Error(), ""
	if f := new(fault.Error); errors.As(err, &f) {
		hint = f.Hint
	}
	data := map[string]any{"Status": http.StatusText(status), "Message": message, "Hint": hint}
	if _, none := s.db.Reader(); none != nil && fault.KindOf(none) == fault.NotFound {
		data["Status"], data["Waits"] = "No results yet", true
	}
	v := &View{Title: data["Status"].(string), Data: data} // not final: what is wrong may be gone with the next change
	if s.show(w, r, status, errorBody, v) != nil {
		http.Error(w, http.StatusText(status), status)
	}
}
