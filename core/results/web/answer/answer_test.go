package answer_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/results"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/study"
	"tandem/core/results/web"
	"tandem/core/results/web/answer"
)

const (
	top1 = "eval/emoji/top1"
	rank = "eval/emoji/mean_rank"
)

// hostile holds what HTML, addresses and terminals give a meaning.
const hostile = "</script><script>alert(1)</script>\"'&/../?#%41\x1b[31m\u202ered\nline"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database is one whose pages are served.
type database struct {
	t      *testing.T
	db     *store.DB
	reader *store.Reader
	site   *web.Site
}

func open(t *testing.T) *database {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "r.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	r, err := store.OpenReader(db.Path())
	must(t, err)
	t.Cleanup(func() { r.Close() })
	d := &database{t, db, r, web.New(r, web.Options{Version: "test"})}
	answer.Add(d.site)
	return d
}

// plan plans cells of an experiment whose baseline is "base" for seeds 0 to n-1.
func (d *database) plan(e store.Experiment, variants []string, n int) {
	d.t.Helper()
	var cells []store.Cell
	for _, v := range variants {
		for seed := range n {
			cells = append(cells, store.Cell{Variant: v, Seed: int64(seed), Levels: map[string]string{}})
		}
	}
	must(d.t, d.db.Plan(d.t.Context(), e, cells))
}

// run records a run that is done, with a value at three steps.
func (d *database) run(experiment, variant string, seed int64, value float64) {
	d.t.Helper()
	r, err := d.db.Begin(d.t.Context(), store.RunMeta{Experiment: experiment, Metric: top1, Variant: variant, Seed: seed, Spec: "name: x", Params: map[string]any{"variant": variant}})
	must(d.t, err)
	for step := 1; step <= 3; step++ {
		must(d.t, r.Metrics(step, []clip.Metric{{Name: top1, Value: value * float64(step) / 3}, {Name: rank, Value: 9 - value}, {Name: "train/loss", Value: 3 / float64(step)}}))
	}
	must(d.t, r.Finish(d.t.Context(), clip.StatusDone, nil))
}

func (d *database) get(path string) (status int, body string) {
	d.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "localhost"
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	d.site.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// page gets the page of an experiment's answer, which there has to be.
func (d *database) page(experiment, query string) string {
	d.t.Helper()
	status, body := d.get(web.ExperimentPath(experiment, "answer") + query)
	if status != 200 {
		d.t.Fatalf("status %d: %s", status, body)
	}
	return body
}

func (d *database) has(body string, wanted ...string) {
	d.t.Helper()
	for _, want := range wanted {
		if !strings.Contains(body, want) {
			d.t.Errorf("the page does not have %q", want)
		}
	}
}

// study records two variants under n seeds.
func (d *database) study(n int) {
	d.plan(store.Experiment{Name: "study", Baseline: "base", Metric: top1, Design: "one-at-a-time"}, []string{"base", "wide"}, 5)
	for seed := range n {
		d.run("study", "base", int64(seed), .5+.01*float64(seed))
		d.run("study", "wide", int64(seed), .6+.01*float64(seed)+.002*float64(seed%2))
	}
}

func TestTheAnswerIsThatOfTheTable(t *testing.T) {
	d := open(t)
	d.study(5)
	body := d.page("study", "")
	d.has(body, "wide is better than the baseline: emoji/top1 62.", `data-chart="means"`, `data-chart="deltas"`, `data-chart="curve"`, `data-chart="narrowing"`, `"narrowing":[`, `class="ablation-table"`)
	if strings.Contains(body, "have no value yet") {
		t.Error("a study that is whole lacks something")
	}
}

func TestAnAnswerFollowsItsStudy(t *testing.T) {
	d := open(t)
	d.study(3)
	d.has(d.page("study", ""), "4 of 10 cells have no value yet", "4 waiting", "Not finished", "6 of 10")
	for _, v := range []string{"base", "wide"} {
		d.run("study", v, 3, .55)
		d.run("study", v, 4, .56)
	}
	body := d.page("study", "")
	d.has(body, "over 5 pairs of seeds")
	if strings.Contains(body, "have no value yet") {
		t.Error("cells that were made are missing")
	}
}

// The difference after two pairs is that of the two pairs whose second run ended first, whatever their seeds.
func TestIntervalsNarrowInTheOrderOfTheRunsEnds(t *testing.T) {
	d := open(t)
	d.plan(store.Experiment{Name: "study", Baseline: "base", Metric: top1}, []string{"base", "wide"}, 3)
	for _, seed := range []int64{2, 0, 1} {
		d.run("study", "base", seed, .5)
		d.run("study", "wide", seed, .5+.1*float64(seed+1))
	}
	rows := regexp.MustCompile(`<td class="number">(\d)</td><td class="number">(\d)</td><td class="number">([^<]*)</td>`).FindAllStringSubmatch(d.page("study", ""), -1)
	var got []string
	for _, r := range rows {
		difference, _, _ := strings.Cut(r[3], " [")
		got = append(got, fmt.Sprint(r[1], " seed ", r[2], ": ", strings.ReplaceAll(difference, "&#43;", "+")))
	}
	if want := "1 seed 2: +30.0 pt, 2 seed 0: +20.0 pt, 3 seed 1: +20.0 pt"; strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestMetricLevelAndBaselineAreInTheAddress(t *testing.T) {
	d := open(t)
	d.study(5)
	body := d.page("study", "?metric=mean_rank&level=0.9&baseline=wide")
	d.has(body, `<option value="`+rank+`" selected>`, `<option value="0.9" selected>`, `<option value="wide" selected>`, "decided by</dt><dd>emoji/mean_rank", "90 % interval",
		`href="/e/study/answer.csv?baseline=wide&amp;level=0.9&amp;metric=mean_rank"`)
	for query, want := range map[string]int{"?level=2": 400, "?level=x": 400, "?metric=nothing": 404, "?baseline=nothing": 404} {
		if status, _ := d.get("/e/study/answer" + query); status != want {
			t.Errorf("%s: status %d, want %d", query, status, want)
		}
	}
	if status, _ := d.get("/e/another/answer"); status != 404 {
		t.Errorf("an experiment that is not there: status %d", status)
	}
}

func TestDownloadsAreWhatTheAblationCommandWrites(t *testing.T) {
	d := open(t)
	d.study(4)
	o := study.Options{Level: .9}
	table, err := study.Table(t.Context(), d.reader, "study", o)
	must(t, err)
	for ending, format := range map[string]report.Format{"md": report.Markdown, "tex": report.LaTeX, "csv": report.CSV, "json": report.JSON} {
		var want bytes.Buffer
		must(t, report.Ablation(&want, format, table))
		if status, got := d.get("/e/study/answer." + ending + "?level=0.9"); status != 200 || got != want.String() {
			t.Errorf("answer.%s, status %d:\n%s\nwant\n%s", ending, status, got, want.String())
		}
	}
	status, file := d.get("/e/study/answer.html")
	d.has(file, "<title>study: ablation report</title>", "default-src 'none'")
	if status != 200 || strings.Contains(file, "/static/") {
		t.Errorf("the report, status %d, needs something beside it", status)
	}
}

func TestAStudyThatHasNotBegunHasAnAnswer(t *testing.T) {
	d := open(t)
	d.plan(store.Experiment{Name: "study", Baseline: "base", Metric: top1}, []string{"base", "wide"}, 2)
	d.has(d.page("study", ""), "No run is finished yet", "4 of 4 cells have no value yet")
	d.plan(store.Experiment{Name: "bare"}, nil, 0)
	d.has(d.page("bare", ""), "Nothing is recorded yet")
	if status, _ := d.get("/e/bare/answer.md"); status != 404 {
		t.Errorf("a table of nothing: status %d", status)
	}
}

func TestOneSeedHasNoInterval(t *testing.T) {
	d := open(t)
	d.study(1)
	d.has(d.page("study", ""), `"narrowing":[{"variant":"wide","colour":1,"points":[{"n":1,"seed":0,"value":0.1,"low":null,"high":null}]}]`)
}

func TestWithoutABaselineTheAnswerIsARanking(t *testing.T) {
	d := open(t)
	for seed := range int64(2) {
		d.run("loose", "a", seed, .5)
		d.run("loose", "b", seed, .6)
	}
	body := d.page("loose", "")
	d.has(body, "b has the best mean", `<option value="" selected>none</option>`)
	if strings.Contains(body, "How the intervals narrowed") {
		t.Error("differences without a baseline")
	}
	d.has(d.page("loose", "?baseline=a"), "How the intervals narrowed")
}

func TestASearchShowsItsPoints(t *testing.T) {
	d := open(t)
	e := store.Experiment{Name: "search", Baseline: "base", Metric: top1, Design: "search", Factors: []results.Factor{{Name: "lr"}}, Settings: store.Settings{Search: &store.Search{Trials: 3}}}
	var cells []store.Cell
	for i := range 3 {
		cells = append(cells, store.Cell{Variant: fmt.Sprintf("search-%d", i+1), Levels: map[string]string{"lr": fmt.Sprint(i)}, Phase: results.Searched})
	}
	must(t, d.db.Plan(t.Context(), e, cells))
	d.run("search", "search-1", 0, .3)
	d.run("search", "search-2", 0, .4)
	d.has(d.page("search", ""), `data-chart="search"`, "search-2 is the best of", "1 of 3 cells has no value yet")
}

func TestNamesAreShownAsText(t *testing.T) {
	d := open(t)
	d.plan(store.Experiment{Name: hostile, Description: hostile, Baseline: "base" + hostile, Metric: top1}, []string{"base" + hostile, hostile}, 2)
	for seed := range int64(2) {
		d.run(hostile, "base"+hostile, seed, .5)
		d.run(hostile, hostile, seed, .6)
	}
	for _, query := range []string{"", "?baseline=" + url.QueryEscape(hostile)} {
		body := regexp.MustCompile(`<option value="[^"]*"`).ReplaceAllString(d.page(hostile, query), "<option") // what a form sends back is the name itself
		for _, bad := range []string{"<script>alert", "</script><script>a", "\x1b", "\u202e"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: %q got into the page", query, bad)
			}
		}
		d.has(body, `&lt;script&gt;alert(1)`, `\x1b[31m`, `\u202ered`)
	}
	r := httptest.NewRequest("GET", web.ExperimentPath(hostile, "answer.md"), nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	d.site.ServeHTTP(w, r)
	if name := w.Header().Get("Content-Disposition"); w.Code != 200 || !regexp.MustCompile(`^attachment; filename="[A-Za-z0-9._-]+\.md"$`).MatchString(name) {
		t.Errorf("status %d, %q", w.Code, name)
	}
}
