package webtest_test

import (
	"context"
	"image"
	"image/color"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/gallery"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results"
	"tandem/core/results/page"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/core/results/web/answer"
	"tandem/core/results/web/ask"
	"tandem/core/results/web/compare"
	"tandem/core/results/web/flips"
	"tandem/core/results/web/guard"
	"tandem/core/results/web/home"
	"tandem/core/results/web/runs"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// add adds the pages of every package, as runner serve does.
var add = []func(*web.Site){home.Add, answer.Add, flips.Add, compare.Add, runs.Add, ask.Add}

// fixture is a database with two experiments: a small real sweep named tiny, with cells in every state, and one whose names,
// texts and errors are hostile.
type fixture struct {
	lab.Lab
	base     string            // address of the server
	runs     map[string]string // ids of runs of tiny by status
	name     string            // of the hostile experiment
	hostile  string            // the id of a run of it
	database *store.DB
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Lab: labtest.New(t), runs: map[string]string{}}
	f.tiny(t)
	db, err := f.Database()
	labtest.Must(t, err)
	t.Cleanup(func() { db.Close() })
	f.database = db
	f.spite(t)
	r, err := store.OpenReader(f.DB)
	labtest.Must(t, err)
	t.Cleanup(func() { r.Close() })
	site := web.New(r, web.Options{RunsDir: f.RunsDir, Albums: f.album, Version: "test"})
	for _, a := range add {
		a(site)
	}
	server := httptest.NewServer((&guard.Guard{}).Protect(site))
	t.Cleanup(server.Close)
	f.base = server.URL
	return f
}

// ablation is what makes the spec of package labtest a sweep: under seed 3 the cells of the variant that fails do so, and one is stopped by
// hand.
const ablation = labtest.Text + `
ablate:
  design: one-at-a-time
  baseline: {rate: base}
  factors:
    rate: {base: {}, fast: {train.lr: 0.1}, lost: {data.train.with.stop: STOP}}
  seeds: [0, 1, 2]
  metric: eval/dots/top1
  retries: 0
`

// tiny makes the real sweep: the runner is stopped when the last trial begins.
func (f *fixture) tiny(t *testing.T) {
	t.Helper()
	there := filepath.Join(t.TempDir(), "stop")
	labtest.Must(t, os.WriteFile(there, nil, 0o644))
	s, err := schedule.Load(f.Lab, labtest.File(t, f.Lab, strings.Replace(ablation, "STOP", there, 1)), nil)
	labtest.Must(t, err)
	w := &halter{last: len(s.Trials) - 2, stop: make(chan struct{})}
	out, err := schedule.Run(t.Context(), f.Lab, s, schedule.Options{}, w.stop, w)
	labtest.Must(t, err)
	for _, trial := range out.States {
		f.runs[string(trial.Status)] = trial.RunID
	}
	if f.runs["done"] == "" || f.runs["failed"] == "" || f.runs["interrupted"] == "" {
		t.Fatalf("the sweep has runs %v", f.runs)
	}
}

// halter stops a sweep when it begins its trial number last.
type halter struct {
	last, begun int
	stop        chan struct{}
}

func (*halter) Planned(*sweep.Sweep, []schedule.State) {}
func (*halter) Changed(int, schedule.State)            {}
func (*halter) Note(string)                            {}
func (*halter) Added(sweep.Trial, schedule.State)      {}
func (*halter) Best(string, string, float64)           {}
func (h *halter) Trial(int) run.Watcher {
	if h.begun++; h.begun == h.last {
		close(h.stop)
	}
	return run.Quiet{}
}

// Texts that harm where they are taken for markup, for a part of an address or for codes of a terminal.
const (
	script  = `<script>alert(1)</script>`
	picture = `"'><img src=x onerror=alert(2)>`
	codes   = "\x1b[31mred\x1b[0m \x07\u202eabc"
	address = `a/b?c=d#e%20f&g`
	lines   = "first\nsecond\ttab"
)

// spite records the hostile experiment: a done, a failed, a stopped, an interrupted and a running run, and a cell that has none.
func (f *fixture) spite(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	metric := "eval/" + picture + "/top1"
	e := store.Experiment{Name: "h " + script + address + codes, Description: lines + script, Baseline: "v=" + script, Metric: metric, Design: "grid",
		Factors: []results.Factor{{Name: "v" + picture, Levels: []string{script, picture, address}}}}
	var cells []store.Cell
	for i, level := range e.Factors[0].Levels {
		for seed := range 3 {
			cells = append(cells, store.Cell{Variant: "v=" + level, Seed: int64(seed), Levels: map[string]string{e.Factors[0].Name: level},
				Identity: strings.Repeat(string(rune('a'+3*i+seed)), 64)})
		}
	}
	f.name = e.Name
	labtest.Must(t, f.database.Plan(ctx, e, cells))
	ends := []clip.Status{"done", "done", "done", "done", "done", clip.StatusFailed, clip.StatusStopped, clip.StatusInterrupted}
	for i, end := range ends {
		c := cells[i]
		r := f.spiteful(t, e, c, float64(i))
		cause := fault.New(fault.PluginDied, "%s", lines+codes+script+picture).WithPlugin("losses/" + script).WithHint(picture)
		if end == clip.StatusDone || end == clip.StatusInterrupted {
			cause = nil
		}
		if cause == nil {
			labtest.Must(t, r.Finish(ctx, end, nil))
		} else {
			labtest.Must(t, r.Finish(ctx, end, cause))
		}
		f.hostile = r.ID()
	}
	f.hostile = f.spiteful(t, e, cells[len(ends)], 8).ID() // runs as long as the test
}

// spiteful records a run up to its end.
func (f *fixture) spiteful(t *testing.T, e store.Experiment, c store.Cell, level float64) *store.Run {
	t.Helper()
	r, err := f.database.Begin(t.Context(), store.RunMeta{Experiment: e.Name, Description: e.Description, Baseline: e.Baseline, Metric: e.Metric, Variant: c.Variant, Seed: c.Seed,
		Identity: c.Identity, Spec: "name: " + script + "\n" + codes + "\nloss: {plugin: '" + picture + "'}\n", Params: map[string]any{"loss": map[string]any{"plugin": script, picture: codes}, "train": map[string]any{"max_steps": 300}},
		Plugins: []store.Plugin{{Role: "loss", Name: "losses/" + script, Version: picture, SHA256: strings.Repeat("a", 64)}}, Device: script, GitCommit: picture})
	labtest.Must(t, err)
	for step := 1; step <= 300; step++ {
		labtest.Must(t, r.Metrics(step, []clip.Metric{{Name: "train/loss", Value: 3 / (1 + float64(step)/50) * (1 + level/10)}, {Name: "train/" + script, Value: float64(step % 7)},
			{Name: "train/step_ms", Value: 20}, {Name: "train/samples_per_s", Value: 1000}}))
	}
	labtest.Must(t, r.Metrics(300, []clip.Metric{{Name: e.Metric, Value: 0.3 + 0.02*level}}))
	var p []clip.Prediction
	for i := range 24 {
		p = append(p, clip.Prediction{Key: script + string(rune('a'+i)), Label: int32(i % 3), Score: 0.5, Top: []int32{int32((i + int(level)*i/3) % 3), int32((i + 1) % 3)}})
	}
	labtest.Must(t, r.Predictions(300, picture, script, p))
	labtest.Must(t, r.Event("warning", script, lines+codes+picture, codes+script))
	labtest.Must(t, r.SetSkips("data.train", store.StageReplaced, []clip.Skip{{Reason: script, Count: 3, First: picture}}))
	labtest.Must(t, r.Checkpoint(300, filepath.Join(f.RunsDir, r.ID(), "checkpoints", script)))
	logs := filepath.Join(f.RunsDir, r.ID(), "logs")
	labtest.Must(t, os.MkdirAll(logs, 0o755))
	labtest.Must(t, os.WriteFile(filepath.Join(logs, "plugin-loss.log"), []byte(lines+script+"\n"+codes+picture+"\n"), 0o644))
	labtest.Must(t, r.Flush(t.Context()))
	return r
}

// album opens the pictures of the real sweep; those of the hostile experiment are of one colour, with hostile classes.
func (f *fixture) album(ctx context.Context, r *store.RunDetail, evaluation, target string, side int, indices []int, keys []string) (*page.Album, error) {
	if r.Experiment == "tiny" {
		a, err := gallery.Open(ctx, f.Lab, gallery.Request{Run: r, Evaluation: evaluation, Target: target, Side: side, Indices: indices, Keys: keys})
		if err != nil {
			return nil, err
		}
		return &page.Album{Classes: a.Classes, Pictures: a.Pictures}, nil
	}
	a := &page.Album{Classes: []string{script, picture, codes + address}}
	for i := range indices {
		p := image.NewRGBA(image.Rect(0, 0, side, side))
		for at := range p.Pix {
			p.Pix[at] = uint8(40 * i)
		}
		p.Set(0, 0, color.White)
		a.Pictures = append(a.Pictures, p)
	}
	return a, nil
}
