package assess

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// listenerOf keeps what is told.
type heard struct {
	run.Quiet
	events, doing []string
	measured      []Result
	after         func() // is called after every result
}

func (h *heard) Event(_, message string) { h.events = append(h.events, message) }
func (h *heard) Doing(what string)       { h.doing = append(h.doing, what) }
func (h *heard) Measured(r Result) {
	h.measured = append(h.measured, r)
	if h.after != nil {
		h.after()
	}
}

const twoSuites = `name: both
eval:
  - {name: parity, dataset: dots, with: {samples: 8}, zero_shot: {classes: parity, templates: ["a {} dot"]}}
  - {name: captions, dataset: dots, with: {samples: 8}, retrieval: true}
`

func suiteOf(t *testing.T, l lab.Lab, text string) *spec.Suite {
	t.Helper()
	path := filepath.Join(filepath.Dir(l.DB), "suite.yaml")
	labtest.Must(t, os.WriteFile(path, []byte(text), 0o644))
	x, err := spec.LoadSuite(path, spec.Options{Catalog: assemble.NewCatalog(l.Catalog)})
	labtest.Must(t, err)
	return x
}

func trained(t *testing.T, set ...string) (lab.Lab, string) {
	t.Helper()
	l := labtest.New(t)
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, append([]string{"train.keep_checkpoints=9"}, set...)...), nil, run.Quiet{})
	labtest.Must(t, err)
	return l, out.ID
}

func detail(t *testing.T, l lab.Lab, id string) *store.RunDetail {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	d, err := r.Get(t.Context(), id)
	labtest.Must(t, err)
	return d
}

// A checkpoint that is evaluated after the fact has the bits that training gave at its step, and the predictions.
func TestFiguresAreThoseOfTraining(t *testing.T) {
	l, id := trained(t)
	before := detail(t, l, id)
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	own, err := r.Predictions(t.Context(), id, "dots", "parity", 4)
	labtest.Must(t, err)
	var results []Result
	for _, c := range []string{"4", "last"} {
		found, err := Evaluate(t.Context(), l, id, Options{Suite: suiteOf(t, l, twoSuites), Checkpoint: c, Version: "v"}, &heard{})
		labtest.Must(t, err)
		results = append(results, found...)
	}
	if len(results) != 4 || results[0].Known || results[0].Step != 4 || results[2].Step != 8 {
		t.Fatalf("%+v", results)
	}
	for _, x := range results {
		for _, m := range x.Metrics {
			name := "eval/dots/" + m.Name[strings.LastIndex(m.Name, "/")+1:]
			points, err := r.PointsOf(t.Context(), id, "dots", x.Step)
			labtest.Must(t, err)
			if !slices.Contains(points, clip.Metric{Name: name, Value: m.Value}) {
				t.Errorf("step %d: %s is %v, in training %v", x.Step, m.Name, m.Value, points)
			}
		}
	}
	again, err := r.Predictions(t.Context(), id, "parity", "parity", 4)
	labtest.Must(t, err)
	if !reflect.DeepEqual(own, again) {
		t.Errorf("predictions %v, in training %v", again, own)
	}
	after := detail(t, l, id)
	if len(after.Evaluations) != 4 || after.Evaluations[0].Suite != "both" || after.Evaluations[0].Samples != 8 || after.Evaluations[0].Version != "v" {
		t.Errorf("recorded %+v", after.Evaluations)
	}
	if !reflect.DeepEqual(after.Metrics["eval/dots/top1"], before.Metrics["eval/dots/top1"]) || after.Status != before.Status {
		t.Error("the run's own figures have changed")
	}
}

func TestWhatIsRecordedIsNotComputedAgain(t *testing.T) {
	l, id := trained(t)
	o := Options{Suite: suiteOf(t, l, twoSuites), Checkpoint: All}
	first, err := Evaluate(t.Context(), l, id, o, &heard{})
	labtest.Must(t, err)
	w := &heard{}
	second, err := Evaluate(t.Context(), l, id, o, w)
	labtest.Must(t, err)
	if len(first) != 8 || len(second) != 8 || len(w.doing) > 1 {
		t.Fatalf("%d and %d results; did %q", len(first), len(second), w.doing)
	}
	for i := range second {
		if !second[i].Known || !reflect.DeepEqual(first[i].Metrics, second[i].Metrics) || first[i].Step != second[i].Step {
			t.Errorf("%+v, first %+v", second[i], first[i])
		}
	}
	// The run's own evaluations were made in training at steps 4 and 8.
	own, err := Evaluate(t.Context(), l, id, Options{Checkpoint: All}, &heard{})
	labtest.Must(t, err)
	var known []string
	for _, r := range own {
		known = append(known, fmt.Sprint(r.Step, r.Known))
	}
	if !slices.Equal(known, []string{"2 false", "4 true", "6 false", "8 true"}) {
		t.Errorf("own evaluations %v", known)
	}
	if s := detail(t, l, id).Metrics["eval/dots/top1"]; s.N != 4 || s.LastStep != 8 {
		t.Errorf("the curve is %+v", s)
	}
	o.Again = true
	third, err := Evaluate(t.Context(), l, id, o, &heard{})
	labtest.Must(t, err)
	if third[0].Known || !reflect.DeepEqual(first[0].Metrics, third[0].Metrics) {
		t.Errorf("again %+v", third[0])
	}
}

// Whoever ends it keeps what is complete, and goes on from there.
func TestWhatIsCompleteStaysWhenItIsEnded(t *testing.T) {
	l, id := trained(t)
	ctx, cancel := context.WithCancel(t.Context())
	w := &heard{after: cancel}
	o := Options{Suite: suiteOf(t, l, twoSuites)}
	got, err := Evaluate(ctx, l, id, o, w)
	if fault.KindOf(err) != fault.Canceled || len(got) != 1 || got[0].Evaluation != "parity" {
		t.Fatalf("%+v (%v)", got, err)
	}
	got, err = Evaluate(t.Context(), l, id, o, &heard{})
	labtest.Must(t, err)
	if len(got) != 2 || !got[0].Known || got[1].Known {
		t.Errorf("%+v", got)
	}
}

// Figures of one name are of one thing.
func TestNamesThatAreTakenAreRefused(t *testing.T) {
	l, id := trained(t)
	for _, c := range []struct {
		suite, says string
		again       bool
	}{
		{`eval: [{name: dots, dataset: dots, with: {samples: 4}, retrieval: true}]`, "is an evaluation of run " + id + "'s own", true},
		{twoSuites, "", false},
		{strings.ReplaceAll(twoSuites, "samples: 8", "samples: 4"), `was measured by another "parity" already (suite both, step 8`, false},
		{strings.ReplaceAll(twoSuites, "samples: 8", "samples: 4"), "", true},
	} {
		_, err := Evaluate(t.Context(), l, id, Options{Suite: suiteOf(t, l, c.suite), Again: c.again}, &heard{})
		if c.says == "" {
			labtest.Must(t, err)
			continue
		}
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Format(err), c.says) || !strings.Contains(fault.Format(err), "suite.yaml:") {
			t.Errorf("%s: %v", c.suite, err)
		}
	}
	if d := detail(t, l, id); len(d.Evaluations) != 2 || d.Evaluations[0].Samples != 4 {
		t.Errorf("%+v", d.Evaluations)
	}
}

func TestCheckpointsAreChosen(t *testing.T) {
	l, id := trained(t)
	steps := func(checkpoint string) (out []int, err error) {
		found, err := Evaluate(t.Context(), l, id, Options{Checkpoint: checkpoint, Suite: suiteOf(t, l, `eval: [{name: c, dataset: dots, with: {samples: 8}, retrieval: true}]`)}, &heard{})
		for _, r := range found {
			out = append(out, r.Step)
		}
		return out, err
	}
	for checkpoint, want := range map[string][]int{"last": {8}, "": {8}, "6": {6}, "all": {2, 4, 6, 8}} {
		if got, err := steps(checkpoint); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v (%v)", checkpoint, got, want, err)
		}
	}
	best := 4
	s := detail(t, l, id).Metrics["eval/dots/top1"]
	if s.BestStep != nil {
		best = *s.BestStep
	}
	if got, err := steps("best"); err != nil || !slices.Equal(got, []int{best}) {
		t.Errorf("best: %v, want %d (%v)", got, best, err)
	}
	if _, err := steps("5"); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Format(err), "8, 6, 4, 2") {
		t.Errorf("no such step: %v", err)
	}
	if _, err := steps("newest"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no such word: %v", err)
	}
}

// Who measures a run with another build of an encoder hears of it.
func TestOtherBuildsOfEncodersAreTold(t *testing.T) {
	l, id := trained(t)
	d := detail(t, l, id)
	own, err := l.RecordedSpec(d)
	labtest.Must(t, err)
	var told []int
	for _, role := range []string{"", assemble.RoleImage, assemble.RoleText, assemble.RoleLoss} {
		h := &heard{}
		other := *d
		other.Plugins = slices.Clone(d.Plugins)
		for i := range other.Plugins {
			if other.Plugins[i].Role == role {
				other.Plugins[i].SHA256 = strings.Repeat("0", 64)
			}
		}
		(&assessment{lab: l, watch: h, own: own, run: &other}).tellOfOtherBuilds()
		told = append(told, len(h.events))
	}
	if !slices.Equal(told, []int{0, 1, 1, 0}) {
		t.Errorf("told %v times: nothing, the image tower, the text tower, the loss are others", told)
	}
}

func TestWeightsThatARunDoesNotKeepAreRefused(t *testing.T) {
	l, id := trained(t)
	if _, err := Evaluate(t.Context(), l, id, Options{Weights: EMA}, &heard{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("averages: %v", err)
	}
}

func TestFilesForOthers(t *testing.T) {
	l, id := trained(t)
	results, err := Evaluate(t.Context(), l, id, Options{Suite: suiteOf(t, l, twoSuites), Keep: true}, &heard{})
	labtest.Must(t, err)
	dir := t.TempDir()
	paths, err := WriteBenchmarks(dir, results)
	labtest.Must(t, err)
	if len(paths) != 2 || !strings.HasSuffix(paths[0], "_zeroshot_classification.json") || !strings.HasSuffix(paths[1], "_zeroshot_retrieval.json") {
		t.Fatal(paths)
	}
	var b Benchmark
	data, err := os.ReadFile(paths[0])
	labtest.Must(t, err)
	labtest.Must(t, json.Unmarshal(data, &b))
	if b.Dataset != "parity" || b.Metrics["acc1"] == nil || *b.Metrics["acc1"] != results[0].Metrics[0].Value || b.Metrics["mean_per_class_recall"] == nil {
		t.Errorf("%s", data)
	}
	if _, has := b.Metrics["acc5"]; !has || b.Metrics["acc5"] != nil {
		t.Errorf("acc5 of two classes: %s", data)
	}
	probe := results[0]
	probe.Metrics = []clip.Metric{{Name: "eval/parity/linear_probe_top1", Value: .5}}
	if b := Benchmarks(probe); len(b) != 1 || b[0].Task != "linear_probe" || *b[0].Metrics["lp_acc1"] != .5 {
		t.Errorf("of a probe: %+v", b)
	}
	paths, err = WriteFeatures(dir, results)
	labtest.Must(t, err)
	if len(paths) != 2 || filepath.Base(paths[0]) != "parity_"+id+"-step-8.safetensors" {
		t.Error(paths)
	}
}
