package runs_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/journal"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/runs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hostile is what names, errors and logs may hold.
const hostile = "<script>alert(1)</script>\"'&\x1b[31mred\u202e/../?#%"

// place is a database with the folder of its runs, and the site that shows them.
type place struct {
	db   *store.DB
	runs string
	site *httptest.Server
}

func start(t *testing.T) *place {
	t.Helper()
	p := &place{runs: filepath.Join(t.TempDir(), "runs")}
	must(t, os.Mkdir(p.runs, 0o755))
	var err error
	p.db, err = store.Open(filepath.Join(t.TempDir(), "results.db"))
	must(t, err)
	t.Cleanup(func() { p.db.Close() })
	site := web.New(p.db.Reader, web.Options{RunsDir: p.runs, Version: "test"})
	runs.Add(site)
	p.site = httptest.NewServer(site)
	t.Cleanup(p.site.Close)
	return p
}

// begin begins a run with hostile names and records a few points.
func (p *place) begin(t *testing.T) *store.Run {
	t.Helper()
	r, err := p.db.Begin(t.Context(), store.RunMeta{
		Experiment: "ex" + hostile, Variant: "va" + hostile, Metric: "eval/x" + hostile + "/top1", Spec: "name: x\ntrain:\n  lr: 0.1\n",
		Params:  map[string]any{"train": map[string]any{"batch_size": 64, "lr": .1}},
		Plugins: []store.Plugin{{Role: "loss", Name: "losses/" + hostile, Version: "1", SHA256: "abc"}},
	})
	must(t, err)
	for step := 1; step <= 10; step++ {
		v := 1 / float64(step)
		if step == 4 {
			v = math.NaN()
		}
		must(t, r.Metrics(step, []clip.Metric{{Name: "train/loss", Value: v}, {Name: "train/samples_per_s", Value: 32}, {Name: "eval/x" + hostile + "/top1", Value: .5}}))
	}
	must(t, r.SetFacts(map[string]any{"steps.total": int64(100), "data.note": hostile}))
	must(t, r.Event("warn", "odd", hostile, "detail\n"+hostile))
	must(t, r.Flush(t.Context()))
	return r
}

// get returns the status and the text of an address. Redirects are not followed.
func (p *place) get(t *testing.T, path string) (int, string, http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), "GET", p.site.URL+path, nil)
	must(t, err)
	q.Header.Set("Accept", "text/html")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.Do(q)
	must(t, err)
	defer a.Body.Close()
	var b strings.Builder
	_, err = fmt.Fprint(&b, readAll(t, a))
	must(t, err)
	return a.StatusCode, b.String(), a.Header
}

func readAll(t *testing.T, a *http.Response) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := a.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// checkSafe fails when something hostile is on a page as more than text.
func checkSafe(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"<script>alert", "\x1b", "\u202e", "\"'&"} {
		if strings.Contains(page, bad) {
			at := strings.Index(page, bad)
			t.Errorf("the page has %q: …%.200q…", bad, page[max(0, at-80):])
		}
	}
}

func TestARunIsShownWithEverythingThatIsKnown(t *testing.T) {
	p := start(t)
	r := p.begin(t)
	dir := filepath.Join(p.runs, r.ID())
	must(t, os.MkdirAll(filepath.Join(dir, "logs"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte("name: x # study.yaml:3:7\ntrain:\n  lr: 0.1 # --set train.lr=0.1\n"), 0o644))
	j, err := journal.Open(journal.Path(filepath.Join(dir, "logs"), "loss"), "losses/clip", "loss", 1<<20)
	must(t, err)
	fmt.Fprintf(j, "begun\n%s\npanic: it broke\n", hostile)
	must(t, j.Close())

	status, page, _ := p.get(t, "/run/"+r.ID())
	if status != 200 {
		t.Fatalf("%d: %s", status, page)
	}
	checkSafe(t, page)
	for _, want := range []string{
		"step 10 of 100", "left", "va&lt;script&gt;", `\x1b[31mred\u202e`, "begun", "panic: it broke", "with errors",
		"study.yaml:3:7", "--set train.lr=0.1", `data-source="/run/` + r.ID() + `/curve?metric=train%2Floss"`, "time of training", "train/samples_per_s",
		"losses/", "data-live",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}

	must(t, r.Finish(t.Context(), clip.StatusFailed, fault.New(fault.PluginDied, "gone: %s", hostile).WithPlugin("losses/clip").WithHint("start again %s", hostile).WithDetail("last words\n"+hostile)))
	_, page, _ = p.get(t, "/run/"+r.ID())
	checkSafe(t, page)
	for _, want := range []string{"gone: &lt;script&gt;", "start again &lt;script&gt;", "last words", "failed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a failed run lacks %q", want)
		}
	}
}

func TestAPrefixAndLatestLeadToTheRun(t *testing.T) {
	p := start(t)
	id := p.begin(t).ID()
	for ref, query := range map[string]string{"latest": "", id[:8]: "?smooth=20&log=1"} {
		status, _, h := p.get(t, "/run/"+ref+query)
		if want := "/run/" + id + query; status != http.StatusFound || h.Get("Location") != want {
			t.Errorf("%s: %d to %s, want %s", ref, status, h.Get("Location"), want)
		}
	}
	if status, _, h := p.get(t, "/run/latest/curve?metric=train/loss"); status != http.StatusFound || h.Get("Location") != "/run/"+id+"/curve?metric=train/loss" {
		t.Errorf("%d to %s", status, h.Get("Location"))
	}
}

func TestNothingOutsideTheFolderOfRunsIsRead(t *testing.T) {
	p := start(t)
	r := p.begin(t)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.MkdirAll(filepath.Join(secret, "logs"), 0o755))
	for _, name := range []string{"spec.yaml", "logs/plugin-loss.log"} {
		must(t, os.WriteFile(filepath.Join(secret, name), []byte("name: x # TOPSECRET\ntrain:\n  lr: 0.1 # TOPSECRET\n"), 0o644))
	}
	for _, ref := range []string{"..%2f..%2fetc%2fpasswd", "..", "%2e%2e", "..%2fsecret", "nosuchrun0", url.PathEscape(hostile), "%00", "latest%2f.."} {
		for _, tail := range []string{"", "/curve?metric=train/loss"} {
			if status, page, _ := p.get(t, "/run/"+ref+tail); status < 300 || status >= 500 || strings.Contains(page, "TOPSECRET") {
				t.Errorf("%s%s: %d", ref, tail, status)
			} else {
				checkSafe(t, page)
			}
		}
	}
	shows := func(what string) {
		t.Helper()
		status, page, _ := p.get(t, "/run/"+r.ID())
		if status != 200 || strings.Contains(page, "TOPSECRET") {
			t.Errorf("%s: %d, the secret is shown: %v", what, status, strings.Contains(page, "TOPSECRET"))
		}
	}
	dir := filepath.Join(p.runs, r.ID())
	must(t, os.Symlink(secret, dir))
	shows("a folder that is a link")
	must(t, os.Remove(dir))
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.Symlink(filepath.Join(secret, "logs"), filepath.Join(dir, "logs")))
	must(t, os.Symlink(filepath.Join(secret, "spec.yaml"), filepath.Join(dir, "spec.yaml")))
	shows("logs that are a link")
	must(t, os.Remove(filepath.Join(dir, "logs")))
	must(t, os.MkdirAll(filepath.Join(dir, "logs"), 0o755))
	must(t, os.Symlink(filepath.Join(secret, "logs/plugin-loss.log"), filepath.Join(dir, "logs/plugin-loss.log")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "logs/plugin-pipe.log"), 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "logs/plugin-folder.log"), 0o755))
	shows("a log that is a link, and one that is a pipe")
}

func TestCurvesAreGivenAsJSON(t *testing.T) {
	p := start(t)
	id := p.begin(t).ID()
	var got struct {
		X      string
		Series []struct {
			Step, N, Bad []int
			X, Mean      []*float64
			NaN, Points  int
			First, Last  int
			Size         int
		}
	}
	status, text, h := p.get(t, "/run/"+id+"/curve?metric=train/loss&metric=nosuch&x=time&from=3&to=8")
	if status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", status, text)
	}
	must(t, json.Unmarshal([]byte(text), &got))
	s := got.Series[0]
	if len(got.Series) != 2 || len(s.Step) != 6 || s.Step[0] != 3 || s.Mean[1] != nil || *s.Mean[0] != 1/3. && math.Abs(*s.Mean[0]-1/3.) > 1e-7 || s.NaN != 1 || len(s.Bad) != 1 || s.Bad[0] != 1 || s.Points != 10 || s.Last != 10 {
		t.Errorf("%s", text)
	}
	if math.Abs(*s.X[5]-16) > 1e-6 { // eight steps of 64 samples at 32 a second
		t.Errorf("step 8 is after %v s", *s.X[5])
	}
	for _, bad := range []string{"", "?metric=train/loss&x=size", "?metric=train/loss&from=-1", "?metric=train/loss&from=9&to=3", "?metric=train/loss&width=x"} {
		if status, text, _ := p.get(t, "/run/"+id+"/curve"+bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
}
