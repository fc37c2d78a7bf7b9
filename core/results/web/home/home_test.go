package home_test

import (
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/results"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/home"
)

const top1 = "eval/emoji/top1"

// hostile holds what HTML, addresses and terminals give a meaning.
const hostile = "<script>alert(1)</script>\"'&/../?#%41\x1b[31m\u202ered\nline"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site serves what fill records.
func site(t *testing.T, fill func(*store.DB)) *web.Site {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "it's here.db"))
	must(t, err)
	fill(db)
	must(t, db.Close())
	r, err := store.OpenReader(db.Path())
	must(t, err)
	t.Cleanup(func() { r.Close() })
	s := web.New(r, web.Options{Version: "test"})
	home.Add(s)
	return s
}

func get(t *testing.T, s *web.Site, path string) (status int, body string) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "localhost"
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func begin(t *testing.T, db *store.DB, experiment, variant string, seed int64, steps int) *store.Run {
	t.Helper()
	r, err := db.Begin(t.Context(), store.RunMeta{Experiment: experiment, Metric: top1, Variant: variant, Seed: seed, Params: map[string]any{"train": map[string]any{"batch_size": 64}}})
	must(t, err)
	must(t, r.SetFacts(map[string]any{"steps.total": int64(200)}))
	for s := 1; s <= steps; s++ {
		must(t, r.Metrics(s, []clip.Metric{{Name: "train/loss", Value: 1}, {Name: "train/samples_per_s", Value: 64}}))
	}
	return r
}

func study(t *testing.T, name, variant string) *web.Site {
	return site(t, func(db *store.DB) {
		var plan []store.Cell
		for seed := range int64(4) {
			plan = append(plan, store.Cell{Variant: "plain", Seed: seed}, store.Cell{Variant: variant, Seed: seed})
		}
		must(t, db.Plan(t.Context(), store.Experiment{Name: name, Description: name, Metric: top1, Design: "grid", Baseline: "plain"}, plan))
		done := begin(t, db, name, "plain", 0, 200)
		must(t, done.Metrics(200, []clip.Metric{{Name: top1, Value: .4321}}))
		must(t, done.Finish(t.Context(), clip.StatusDone, nil))
		must(t, begin(t, db, name, variant, 0, 3).Finish(t.Context(), clip.StatusFailed, errors.New(variant+"\nmore")))
		must(t, begin(t, db, name, variant, 1, 5).Finish(t.Context(), clip.StatusStopped, errors.New("median at step 5")))
		begin(t, db, name, variant, 2, 50)
	})
}

func wants(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("the page lacks %q:\n%s", text, body)
		}
	}
}

func TestTheFirstPageListsExperimentsRunsAndWhatRuns(t *testing.T) {
	status, body := get(t, study(t, "study", "wide"), "/")
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	wants(t, body, `<a href="/e/study">study</a>`, "1 of 8", "▸ 1 running", "50 of 200", "✓ done", "43.2 %", "✗ failed", "■ stopped")
}

func TestTheBoardShowsEveryCellWithItsStateInWords(t *testing.T) {
	status, body := get(t, study(t, "study", "wide"), "/e/study")
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	wants(t, body, "<dd>1 of 8</dd>", `<span class="sr">done: </span>43.2 %`, `<span class="sr">running: </span>25 %`, `stopped</span><span class="sr">: median at step 5`,
		"✗ 1 failed", "· 4 waiting", "7 cells of 8 have no value of eval/emoji/top1 yet", `/it&#39;\&#39;&#39;s here.db&#39;</pre>`, "after step 5 of 200")
	if n := strings.Count(body, `class="cell state-`); n != 8 {
		t.Errorf("%d cells", n)
	}
	if strings.Contains(body, "<button") || strings.Contains(body, "<form") {
		t.Error("the page starts something")
	}
}

func TestNamesOfOthersAreShownAsText(t *testing.T) {
	s := study(t, hostile, hostile)
	for _, path := range []string{"/", web.ExperimentPath(hostile, "")} {
		status, body := get(t, s, path)
		if status != 200 {
			t.Fatalf("%s: status %d: %s", path, status, body)
		}
		if strings.Contains(body, "<script>") || strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s: a name is not shown as text:\n%s", path, body)
		}
		wants(t, body, "&lt;script&gt;alert(1)&lt;/script&gt;", `\x1b[31m`)
	}
}

func TestTheBoardOfASearchShowsItsPhases(t *testing.T) {
	s := site(t, func(db *store.DB) {
		must(t, db.Plan(t.Context(), store.Experiment{Name: "s", Metric: top1, Design: "search", Baseline: "baseline", Settings: store.Settings{Search: &store.Search{Trials: 5, Confirm: 2}}},
			[]store.Cell{{Variant: "baseline", Seed: 7, Phase: results.Confirming}, {Variant: "baseline", Seed: 8, Phase: results.Confirming},
				{Variant: "search-1", Seed: 0, Phase: results.Searched}, {Variant: "search-2", Seed: 0, Phase: results.Searched}}))
	})
	status, body := get(t, s, "/e/s")
	if status != 200 {
		t.Fatalf("status %d: %s", status, body)
	}
	wants(t, body, "2 of 5 points, 0 of 5 cells done", "1 of 2 variants, 0 of 4 cells done")
	tried, confirmed, _ := strings.Cut(body, "Confirmed under fresh seeds")
	if !strings.Contains(tried, "search-2") || strings.Contains(tried, "seed 7") || strings.Contains(confirmed, "seed 0") {
		t.Errorf("the phases are not apart:\n%s", body)
	}
}

func TestRunsWithoutASweepAreListed(t *testing.T) {
	s := site(t, func(db *store.DB) {
		for range 2 {
			must(t, begin(t, db, "single", "", 0, 1).Finish(t.Context(), clip.StatusDone, nil))
		}
	})
	status, body := get(t, s, "/e/single")
	if n := strings.Count(body, "✓ done"); status != 200 || n < 2 {
		t.Errorf("status %d, %d runs: %s", status, n, body)
	}
}

func TestAnEmptyDatabaseSaysHowToFillIt(t *testing.T) {
	_, body := get(t, site(t, func(*store.DB) {}), "/")
	wants(t, body, "No run is recorded yet", "runner run experiments/quickstart.yaml")
}

func TestAnExperimentThatIsNotThereIsNotFound(t *testing.T) {
	status, body := get(t, study(t, "study", "wide"), "/e/studi")
	if status != 404 {
		t.Errorf("status %d", status)
	}
	wants(t, body, "did you mean study?")
}
