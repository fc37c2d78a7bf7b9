package flips_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/page"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/flips"
)

// hostile holds what HTML, addresses and terminals give a meaning.
const hostile = "</script><script>alert(1)</script>\"'&/../?#%41\x1b[31m\u202ered\nline"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database is one whose pages are served, with an album that counts how often it is asked.
type database struct {
	t      *testing.T
	db     *store.DB
	site   *web.Site
	asked  atomic.Int32 // for pictures
	opened atomic.Int32
	albums page.Albums
}

func open(t *testing.T) *database {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "r.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	r, err := store.OpenReader(db.Path())
	must(t, err)
	t.Cleanup(func() { r.Close() })
	d := &database{t: t, db: db}
	d.albums = func(_ context.Context, _ *store.RunDetail, _, _ string, side int, indices []int, _ []string) (*page.Album, error) {
		a := &page.Album{Classes: []string{"cat", "dog", "sun" + hostile, "moon"}}
		for i, index := range indices {
			a.Pictures = append(a.Pictures, image.NewGray(image.Rect(0, 0, side, side)))
			if index == 3 { // the dataset has another example there now
				a.Pictures[i] = nil
			}
		}
		return a, nil
	}
	d.site = web.New(r, web.Options{Version: "test", Albums: func(ctx context.Context, run *store.RunDetail, evaluation, target string, side int, indices []int, keys []string) (*page.Album, error) {
		d.opened.Add(1)
		d.asked.Add(int32(len(indices)))
		return d.albums(ctx, run, evaluation, target, side, indices, keys)
	}})
	flips.Add(d.site)
	return d
}

// run records a done run that guesses these classes for examples whose labels are 0, 1, 2, 0, 1, 2, …
func (d *database) run(experiment, variant string, seed int64, guesses ...int32) {
	d.t.Helper()
	r, err := d.db.Begin(d.t.Context(), store.RunMeta{Experiment: experiment, Baseline: "base", Metric: "eval/toys/top1", Variant: variant, Seed: seed})
	must(d.t, err)
	var p []clip.Prediction
	for i, g := range guesses {
		p = append(p, clip.Prediction{Key: fmt.Sprintf("key/%d%s", i, hostile), Label: int32(i % 3), Top: []int32{g, (g + 1) % 4}, Score: .9 - float32(i)/100})
	}
	if len(p) > 0 {
		must(d.t, r.Predictions(1, "toys", "label", p))
	}
	must(d.t, r.Metrics(1, []clip.Metric{{Name: "eval/toys/top1", Value: .5}}))
	must(d.t, r.Finish(d.t.Context(), clip.StatusDone, nil))
}

func (d *database) get(path string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "localhost"
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	d.site.ServeHTTP(w, r)
	return w
}

func (d *database) page(experiment, query string) string {
	d.t.Helper()
	w := d.get(web.ExperimentPath(experiment, "flips") + query)
	if w.Code != 200 {
		d.t.Fatalf("%s: status %d: %s", query, w.Code, w.Body)
	}
	return w.Body.String()
}

func (d *database) has(body string, wanted ...string) {
	d.t.Helper()
	for _, want := range wanted {
		if !strings.Contains(body, want) {
			d.t.Errorf("the page does not have %q", want)
		}
	}
}

// counts returns how many examples each kind has, in the order of the page.
func counts(body string) string {
	var all []string
	for _, m := range regexp.MustCompile(`<span class="count">(\d+)</span>`).FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

// examples returns which examples are shown.
func examples(body string) string {
	var all []string
	for _, m := range regexp.MustCompile(`<li id="example-(\d+)">`).FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

func TestExamplesAreSortedByWhoIsRight(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 1, 2, 3, 3, 3, 0)
	d.run("toys", "wide", 0, 0, 1, 3, 0, 2, 3, 2)
	body := d.page("toys", "?seed_a=0&seed_b=0")
	if got := counts(body); got != "2 1 1 1 2" { // only A: 2, 6; only B: 3; differently: 4; alike: 5; right: 0, 1
		t.Errorf("counts %s", got)
	}
	for kind, want := range map[string]string{"a": "2 6", "b": "3", "wrong": "4", "wrong-same": "5", "right": "0 1"} {
		if got := examples(d.page("toys", "?kind="+kind)); got != want {
			t.Errorf("%s: examples %s, want %s", kind, got, want)
		}
	}
	if got := examples(d.page("toys", "?kind=a&label=0")); got != "6" {
		t.Errorf("of class 0: %s", got)
	}
	d.has(body, "0.880", "then dog", "cat")
}

// A side is right where more than half of its seeds are.
func TestSeedsVote(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 1)
	d.run("toys", "base", 1, 0, 2)
	d.run("toys", "base", 2, 3, 3)
	d.run("toys", "wide", 0, 1, 2)
	body := d.page("toys", "")
	if got := counts(body); got != "1 0 1 0 0" { // one of three has example 1 right, which is not enough
		t.Errorf("counts %s", got)
	}
	d.has(body, "2/3", "(3 seeds)")
	if got := counts(d.page("toys", "?seed_a=1")); got != "1 0 0 1 0" {
		t.Errorf("of seed 1: %s", got)
	}
	if got := counts(d.page("toys", "?a=base&seed_a=0&b=base&seed_b=1")); got != "1 0 0 0 1" {
		t.Errorf("two seeds of a variant: %s", got)
	}
}

func TestWithoutSidesTheBestIsSetAgainstTheBaseline(t *testing.T) {
	d := open(t)
	d.run("toys", "bad", 0, 3, 3, 3)
	d.run("toys", "base", 0, 0, 3, 3)
	d.run("toys", "good", 0, 0, 1, 3)
	d.has(d.page("toys", ""), "<b>base</b> (seed 0) is A, <b>good</b> (seed 0) is B")
}

func TestWithoutAKindTheFirstWithExamplesIsShown(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 1, 3)
	d.run("toys", "wide", 0, 0, 1, 3)
	d.has(d.page("toys", ""), "Both wrong, the same guess <span class=\"dim\">1 example", "Under every text both find the same")
}

func TestFoundUnderATextAreTheClosestFirst(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 0, 2)
	d.run("toys", "wide", 0, 1, 1, 2)
	body := d.page("toys", "?text=0")
	d.has(body, `<h3><a href="/e/toys/flips?text=0#found">cat</a>`, "A: base, seed 0", "2 found", "B: wide, seed 0", "0 found, 1 missed")
}

func TestPicturesAreFetchedOnce(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 1, 2, 3, 1)
	d.run("toys", "wide", 0, 3, 3, 3, 0, 3)
	body := d.page("toys", "")
	asked, opened := d.asked.Load(), d.opened.Load()
	d.page("toys", "")
	d.page("toys", "?kind=b")
	d.has(body, "1 of 5 pictures are missing")
	if asked != 5 || opened != 1 || d.asked.Load() != 5 || d.opened.Load() != 1 {
		t.Errorf("%d pictures were asked for in %d calls, then %d in %d", asked, opened, d.asked.Load(), d.opened.Load())
	}
	addresses := regexp.MustCompile(`<img src="([^"]*)"`).FindAllStringSubmatch(body, -1)
	if len(addresses) < 4 {
		t.Fatalf("%d pictures", len(addresses))
	}
	w := d.get(strings.ReplaceAll(addresses[0][1], "&amp;", "&"))
	if m, err := png.Decode(bytes.NewReader(w.Body.Bytes())); err != nil || m.Bounds().Dx() != 192 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") != "image/png" {
		t.Errorf("status %d, %v, headers %v", w.Code, err, w.Header())
	}
	if d.opened.Load() != 1 {
		t.Error("a picture that is kept was asked for again")
	}
}

func TestAPictureThatIsGoneIsNotFound(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0)
	q := url.Values{"run": {"nothing"}, "evaluation": {"toys"}, "target": {"label"}, "index": {"3"}, "key": {"k"}}
	if w := d.get("/e/toys/flips/picture?" + q.Encode()); w.Code != 404 {
		t.Errorf("of a run that is not there: status %d", w.Code)
	}
	q.Set("index", "x")
	if w := d.get("/e/toys/flips/picture?" + q.Encode()); w.Code != 400 {
		t.Errorf("of no example: status %d", w.Code)
	}
}

func TestWithoutPicturesThePageSaysWhy(t *testing.T) {
	d := open(t)
	d.run("toys", "base", 0, 0, 1)
	d.run("toys", "wide", 0, 3, 3)
	d.albums = func(context.Context, *store.RunDetail, string, string, int, []int, []string) (*page.Album, error) {
		return nil, fault.New(fault.Unavailable, "run 7 was not made here").WithHint("runner report --thumbnails shows it")
	}
	d.has(d.page("toys", ""), "There are no pictures and no names of classes: run 7 was not made here; runner report --thumbnails shows it.", "class 0", "key/0")
}

func TestNothingToCompareIsSaid(t *testing.T) {
	d := open(t)
	d.run("bare", "base", 0)
	d.has(d.page("bare", ""), "No done run of this experiment has predictions")
	d.run("one", "base", 0, 0, 1)
	d.has(d.page("one", ""), "A and B are the same")
	d.run("one", "other", 0, 0, 1, 2)
	d.has(d.page("one", ""), "no predictions of the same examples")
	for query, want := range map[string]int{"?kind=x": 400, "?label=x": 400, "?page=-1": 400, "?seed_a=x": 400, "?a=nothing": 404, "?b=nothing": 404, "?seed_b=9": 404, "?evaluation=x": 404} {
		if w := d.get("/e/one/flips" + query); w.Code != want {
			t.Errorf("%s: status %d, want %d", query, w.Code, want)
		}
	}
	if w := d.get("/e/nothing/flips"); w.Code != 404 {
		t.Errorf("an experiment that is not there: status %d", w.Code)
	}
}

func TestManyExamplesAreOnPages(t *testing.T) {
	d := open(t)
	base, wide := make([]int32, 50), make([]int32, 50)
	for i := range base {
		base[i], wide[i] = int32(i%3), 3
	}
	d.run("toys", "base", 0, base...)
	d.run("toys", "wide", 0, wide...)
	first, second, last := d.page("toys", ""), d.page("toys", "?page=2&a=base"), d.page("toys", "?page=99")
	d.has(first, "50 examples, 1 to 24", `href="/e/toys/flips?page=2" rel="next"`)
	d.has(second, "25 to 48", `href="/e/toys/flips?a=base&amp;page=1" rel="prev"`, `page=3" rel="next"`)
	d.has(last, "49 to 50")
	if examples(last) != "48 49" {
		t.Errorf("the last page has %s", examples(last))
	}
}

func TestNamesAreShownAsText(t *testing.T) {
	d := open(t)
	d.run(hostile, "base", 0, 0, 1, 2, 0)
	d.run(hostile, hostile, 0, 3, 1, 1, 0)
	body := d.page(hostile, "?b="+url.QueryEscape(hostile)+"&kind=a")
	body = regexp.MustCompile(`<option value="[^"]*"`).ReplaceAllString(body, "<option") // what a form sends back is the name itself
	for _, bad := range []string{"<script>alert", "\x1b", "\u202e"} {
		if strings.Contains(body, bad) {
			t.Errorf("%q got into the page", bad)
		}
	}
	d.has(body, `&lt;script&gt;alert(1)`, `\x1b[31m`, `\u202ered`)
}
