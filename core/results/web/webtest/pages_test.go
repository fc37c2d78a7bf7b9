package webtest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"tandem/core/results/web"
	"tandem/core/results/web/webtest"
)

// Every page is sound in a browser. TANDEM_SCREENSHOTS=FOLDER keeps pictures of them; TANDEM_LONG=1 looks at every width in the dark too.
func TestPages(t *testing.T) {
	b := webtest.Start(t)
	f := newFixture(t)
	b.Check(t, f.base, f.pages(), os.Getenv("TANDEM_LONG") == "")
}

// So is a report in one file.
func TestReports(t *testing.T) {
	b := webtest.Start(t)
	f := newFixture(t)
	files := map[string]string{"/tiny": "/e/tiny/answer.html", "/hostile": f.experiment("answer.html")}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := http.Get(f.base + files[r.URL.Path])
		if err == nil {
			defer answer.Body.Close()
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, err = io.Copy(w, answer.Body)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	const drawn = "[...document.querySelectorAll('[data-chart]')].every(e => e.querySelector('svg'))"
	b.Check(t, server.URL, []webtest.Page{
		{Name: "report", Path: "/tiny", File: true, Has: []string{"rate=fast"}, Needs: drawn},
		{Name: "report-hostile", Path: "/hostile", File: true, Has: []string{script, picture}, Needs: drawn},
	}, os.Getenv("TANDEM_LONG") == "")
}

// pages lists what is looked at: every page, with the real sweep and with hostile names.
func (f *fixture) pages() []webtest.Page {
	return []webtest.Page{
		{Name: "home", Path: "/", Has: []string{"tiny", script}},
		{Name: "board", Path: "/e/tiny", Has: []string{"rate=fast", "failed", "interrupted", "What is missing"}},
		{Name: "board-hostile", Path: f.experiment(""), Has: []string{script, picture, "failed", "stopped", "running"}},
		{Name: "run", Path: "/run/" + f.runs["done"], Has: []string{"Curves", "train/loss", "datasets/dots", "done"}, Needs: "document.querySelectorAll('canvas').length > 0"},
		{Name: "run-failed", Path: "/run/" + f.runs["failed"], Has: []string{"is there", "failed"}},
		{Name: "run-hostile", Path: "/run/" + f.hostile, Has: []string{script, picture, "running"}},
		{Name: "answer", Path: "/e/tiny/answer", Has: []string{"rate=fast", "baseline"}},
		{Name: "answer-hostile", Path: f.experiment("answer"), Has: []string{script, picture}},
		{Name: "flips", Path: "/e/tiny/flips", Has: []string{"Only A right", "What is found under a text"}, Needs: "[...document.images].length > 0"},
		{Name: "flips-hostile", Path: f.experiment("flips") + "?kind=right", Has: []string{script, picture}, Needs: "[...document.images].length > 0"},
		{Name: "compare", Path: "/compare?run=" + f.runs["done"] + "&run=" + f.runs["failed"], Has: []string{f.runs["done"], f.runs["failed"]}},
		{Name: "compare-hostile", Path: "/compare?run=" + f.hostile + "&run=" + f.runs["done"], Has: []string{script}},
		{Name: "compare-none", Path: "/compare"},
		{Name: "query", Path: "/query", Has: []string{"v_runs", "Mean ± standard deviation"}},
		{Name: "query-answer", Path: "/query?sql=SELECT+experiment,+variant,+step,+value+FROM+v_metrics+JOIN+v_runs+USING+(run_id)+WHERE+metric='train/loss'&x=step&y=value&series=variant&mark=line",
			Has: []string{"rows", script}, Needs: "document.querySelectorAll('#plot svg').length > 0"},
		{Name: "query-faulty", Path: "/query?sql=SELECT+step+FROM+v_run", Has: []string{"did you mean v_runs?"}},
		{Name: "nowhere", Path: "/nowhere", Status: 404, Has: []string{"there is no such page"}},
	}
}

// experiment returns the address of a page of the hostile experiment.
func (f *fixture) experiment(tab string) string { return web.ExperimentPath(f.name, tab) }
