package ask_test

import (
	"bytes"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/clip"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/ask"
	"tandem/docs"
)

const hostile = "<script>alert(1)</script></script>\"'&\x1b[31m\u202e/../?#%"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) (site *httptest.Server, id string) {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	r, err := db.Begin(t.Context(), store.RunMeta{Experiment: "ex'" + hostile, Metric: "eval/it's/top1", Variant: "va" + hostile, Params: map[string]any{"loss": map[string]any{"plugin": "clip"}}})
	must(t, err)
	for step := range 1500 {
		must(t, r.Metrics(step, []clip.Metric{{Name: "train/loss", Value: float64(step) / 2}}))
	}
	must(t, r.Metrics(1500, []clip.Metric{{Name: "eval/it's/top1", Value: .75}}))
	must(t, r.Finish(t.Context(), clip.StatusDone, nil))
	s := web.New(db.Reader, web.Options{Version: "test"})
	ask.Add(s)
	site = httptest.NewServer(s)
	t.Cleanup(site.Close)
	return site, r.ID()
}

// typed matches what a person typed or chooses from: it is sent back as it is.
var typed = regexp.MustCompile(`(?s)<textarea.*?</textarea>|value="[^"]*"`)

func get(t *testing.T, address string) (int, string, http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	must(t, err)
	q.Header.Set("Accept", "text/html")
	a, err := http.DefaultClient.Do(q)
	must(t, err)
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	must(t, err)
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		if strings.Contains(string(text), "<script>alert") {
			t.Errorf("%s has a script", address)
		}
		for _, bad := range []string{"\x1b", "\u202e"} {
			if strings.Contains(typed.ReplaceAllString(string(text), ""), bad) {
				t.Errorf("%s shows %q", address, bad)
			}
		}
	}
	return a.StatusCode, string(text), a.Header
}

func query(sql string, more ...string) string {
	v := url.Values{"sql": {sql}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return "?" + v.Encode()
}

func TestAQueryIsAnsweredAsATable(t *testing.T) {
	site, id := start(t)
	status, page, _ := get(t, site.URL+"/query"+query("SELECT run_id, variant, NULL AS none, 9e999 AS much FROM v_runs"))
	if status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	for _, want := range []string{"1 row.", `<a href="/run/` + id + `">`, "va&lt;script&gt;", `\x1b[31m\u202e`, "NULL", "∞", "query.csv?", "query.parquet?"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	data := regexp.MustCompile(`(?s)<script type="application/json" id="rows">(.*?)</script>`).FindStringSubmatch(page)
	var rows struct {
		Columns []string
		Rows    [][]any
	}
	must(t, json.Unmarshal([]byte(data[1]), &rows))
	if want := []any{id, web.Text("va" + hostile), nil, nil}; !cmp.Equal(rows.Rows, [][]any{want}) {
		t.Errorf("the plot has %v", rows.Rows)
	}
	if _, page, _ = get(t, site.URL+"/query"+query("SELECT step FROM v_metrics")); !strings.Contains(page, "The first 1000 rows; there are more.") || strings.Count(page, "<tr><td class=\"number\">") != 1000 {
		t.Error("a long answer does not say that it is cut")
	}
	for sql, want := range map[string]string{
		"DELETE FROM run":          "only reading is allowed",
		"SELECT steps FROM v_run":  "did you mean v_runs?",
		"SELECT step FROM v_runs":  "Hint:",
		"SELECT '" + hostile:       "unrecognized token",
		"-- nothing":               "no columns",
		"SELECT load_extension(1)": "not authorized",
	} {
		if status, page, _ := get(t, site.URL+"/query"+query(sql)); status != 200 || !strings.Contains(page, want) {
			t.Errorf("%.40q: %d, without %q", sql, status, want)
		}
	}
}

func TestParametersAreAskedFor(t *testing.T) {
	site, id := start(t)
	sql := "SELECT count(*) AS n FROM v_runs WHERE run_id = :run -- not :this, nor ':that'"
	_, page, _ := get(t, site.URL+"/query"+query(sql))
	if !strings.Contains(page, `name="arg.run"`) || strings.Contains(page, "arg.th") || strings.Contains(page, `id="answer"`) {
		t.Error("the page does not ask for :run alone, or does not wait")
	}
	_, text, _ := get(t, site.URL+"/query.csv"+query(sql, "arg.run", id))
	if text != "n\n1\n" {
		t.Errorf("%q", text)
	}
}

func TestEveryQuestionCanBeAsked(t *testing.T) {
	site, _ := start(t)
	_, page, _ := get(t, site.URL+"/query")
	links := regexp.MustCompile(`<li><a href="(/query\?sql=[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) != len(docs.Questions()) {
		t.Fatalf("%d questions", len(links))
	}
	for i, l := range links {
		address := html.UnescapeString(l[1]) + "&arg.a=x&arg.b=y&arg.z=z"
		status, page, _ := get(t, site.URL+address)
		if status != 200 || !strings.Contains(page, `id="answer"`) {
			t.Errorf("%s: %d", docs.Questions()[i].Name, status)
		}
		if docs.Questions()[i].Name == "mean-per-variant" && !strings.Contains(page, "1 row.") {
			t.Error("the question is not about the experiment of this database")
		}
	}
	for _, view := range docs.Views() {
		if !strings.Contains(page, "<code>"+view.Name+"</code>") {
			t.Errorf("the page lacks %s", view.Name)
		}
	}
}

func TestAnswersAreDownloaded(t *testing.T) {
	site, _ := start(t)
	sql := "SELECT step, value, CAST(step AS TEXT) AS step, NULL AS none, x'0102' AS bytes, CASE step WHEN 0 THEN 1 ELSE value END AS mixed FROM v_metrics WHERE metric = 'train/loss' ORDER BY step"
	status, text, h := get(t, site.URL+"/query.csv"+query(sql))
	if status != 200 || strings.Count(text, "\n") != 1501 || !strings.Contains(h.Get("Content-Disposition"), "query.csv") {
		t.Errorf("%d, %d lines", status, strings.Count(text, "\n"))
	}
	status, text, _ = get(t, site.URL+"/query.parquet"+query(sql))
	if status != 200 || !strings.HasPrefix(text, "PAR1") || !bytes.HasSuffix([]byte(text), []byte("PAR1")) {
		t.Errorf("%d, %.20q", status, text)
	}
	if status, _, _ := get(t, site.URL+"/query.csv"+query("SELECT x FROM v_runs")); status != http.StatusBadRequest {
		t.Errorf("a faulty query: %d", status)
	}
}
