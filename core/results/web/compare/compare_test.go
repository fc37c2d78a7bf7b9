package compare_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/compare"
)

const hostile = "<script>alert(1)</script>\"'&\x1b[31m\u202e/../?#%"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start makes a database of two variants with hostile names under two seeds, of one run of another experiment, and a site.
func start(t *testing.T) (site *httptest.Server, ids []string) {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	make1 := func(experiment, variant string, seed int64, top1 float64) {
		r, err := db.Begin(t.Context(), store.RunMeta{Experiment: experiment, Baseline: "plain", Metric: "eval/x/top1", Variant: variant, Seed: seed, GitCommit: "commit-" + variant,
			Params:  map[string]any{"train": map[string]any{"batch_size": 64, "lr": float64(seed)}, "seed": seed, "same": "SAMEVALUE"},
			Plugins: []store.Plugin{{Role: "loss", Name: "losses/" + variant, Version: "1", SHA256: "0123456789abcdef"}}})
		must(t, err)
		for step := 1; step < 4; step++ {
			must(t, r.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 3 - top1}, {Name: "eval/x/top1", Value: top1}, {Name: "eval/" + hostile + "/top1", Value: top1}}))
		}
		must(t, r.Finish(t.Context(), clip.StatusDone, nil))
		ids = append(ids, r.ID())
	}
	make1("study"+hostile, "plain", 0, .25)
	make1("study"+hostile, "plain", 1, .5)
	make1("study"+hostile, "va"+hostile, 0, .75)
	make1("other", "", 0, .125)
	s := web.New(db.Reader, web.Options{Version: "test"})
	compare.Add(s)
	site = httptest.NewServer(s)
	t.Cleanup(site.Close)
	return site, ids
}

var values = regexp.MustCompile(`<input type="(hidden|checkbox)" name="\w+" value="[^"]*"`)

func get(t *testing.T, address string) (status int, page, location string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	must(t, err)
	q.Header.Set("Accept", "text/html")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.Do(q)
	must(t, err)
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	must(t, err)
	shown := values.ReplaceAllString(string(text), "") // what a form sends has to be the name itself; nobody sees it
	for _, bad := range []string{"<script>alert", "\x1b", "\u202e"} {
		if strings.Contains(shown, bad) {
			t.Errorf("%s has %q", address, bad)
		}
	}
	return a.StatusCode, string(text), a.Header.Get("Location")
}

func runsOf(ids ...string) string { return url.Values{"run": ids}.Encode() }

func TestRunsAreSetSideBySide(t *testing.T) {
	site, ids := start(t)
	status, page, _ := get(t, site.URL+"/compare?"+runsOf(ids[0], ids[1], ids[2]))
	if status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	for _, want := range []string{"train.lr", "75.0 %<span aria-label=\"best\"> ★", "va&lt;script&gt;", "plain, seed 1", "git commit", "plugin: loss", `data-source="/curves?metric=train%2Floss`, "ink0", "ink1", "Leave out the others"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "SAMEVALUE") || strings.Contains(page, "50.0 %<span") {
		t.Errorf("the page has settings that do not differ, or values that are not best")
	}
	if settings, metrics := strings.Index(page, "Settings that differ"), strings.Index(page, ">Metrics<"); settings < 0 || metrics < settings {
		t.Errorf("settings do not come first")
	}
}

func TestAnAddressNamesRunsByTheirIDs(t *testing.T) {
	site, ids := start(t)
	study := "study" + hostile
	for _, c := range []struct {
		name, query string
		want        []string
	}{
		{"latest", "run=latest&run=" + ids[0], []string{ids[3], ids[0]}},
		{"one is added", runsOf(ids[0]) + "&add=" + ids[1] + "&experiment=&variant=", []string{ids[0], ids[1]}},
		{"twice the same", runsOf(ids[0], ids[0]), []string{ids[0]}},
		{"an experiment", "experiment=" + url.QueryEscape(study), ids[:3]},
		{"a variant", "experiment=" + url.QueryEscape(study) + "&variant=plain&" + runsOf(ids[3]), []string{ids[3], ids[0], ids[1]}},
	} {
		status, _, location := get(t, site.URL+"/compare?"+c.query)
		u, err := url.Parse(location)
		must(t, err)
		if got := u.Query()["run"]; status != http.StatusFound || !slices.Equal(got, c.want) || len(u.Query()) != 1 {
			t.Errorf("%s: %d to %s, want %v", c.name, status, location, c.want)
		}
	}
	for query, want := range map[string]int{
		"":                     200,
		"run=nosuchrun0":       http.StatusNotFound,
		"run=../../etc/passwd": http.StatusNotFound,
		"experiment=nosuch":    http.StatusNotFound,
		"variant=plain":        http.StatusBadRequest,
		"experiment=other&variant=" + url.QueryEscape(hostile): http.StatusNotFound,
		runsOf(ids[0]) + "&metric=" + url.QueryEscape(hostile): 200,
		"run=" + url.QueryEscape(hostile):                      http.StatusNotFound,
	} {
		if status, _, _ := get(t, site.URL+"/compare?"+query); status != want {
			t.Errorf("%q: %d, want %d", query, status, want)
		}
	}
}

func TestManyRunsAreRows(t *testing.T) {
	db, err := store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	defer db.Close()
	var ids []string
	for i := range 9 {
		r, err := db.Begin(t.Context(), store.RunMeta{Experiment: "x", Variant: fmt.Sprint("v", i), Params: map[string]any{"width": i}})
		must(t, err)
		must(t, r.Metrics(1, []clip.Metric{{Name: "eval/x/top1", Value: float64(i) / 10}}))
		must(t, r.Finish(t.Context(), clip.StatusDone, nil))
		ids = append(ids, r.ID())
	}
	s := web.New(db.Reader, web.Options{})
	compare.Add(s)
	site := httptest.NewServer(s)
	defer site.Close()
	status, page, _ := get(t, site.URL+"/compare?"+runsOf(ids...))
	if status != 200 || strings.Count(page, `<th scope="row"><a href="/run/`) != 18 || !strings.Contains(page, `<th scope="col">width</th>`) {
		t.Errorf("%d: %d rows", status, strings.Count(page, `<th scope="row"><a href="/run/`))
	}
}
