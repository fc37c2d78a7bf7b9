package run

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/results/sink"
	"tandem/core/results/sink/tensorboard"
	"tandem/core/results/store"
)

// trackersPython returns a Python that has the trackers' own packages; make test-python names it.
func trackersPython(t *testing.T) string {
	t.Helper()
	python := os.Getenv("TANDEM_TRACKERS")
	if python == "" {
		t.Skip("make test-python runs the tests with the trackers' own packages")
	}
	return python
}

// readBack returns what a tracker's own package reads: the curves of each run by name, as "step value".
func readBack(t *testing.T, python string, args ...string) map[string]map[string][]string {
	t.Helper()
	cmd := exec.Command(python, append([]string{"../../../tools/trackers/check.py"}, args...)...)
	cmd.Stderr = t.Output()
	text, err := cmd.Output()
	labtest.Must(t, err)
	var runs map[string]map[string][][2]any
	labtest.Must(t, json.Unmarshal(text, &runs))
	out := map[string]map[string][]string{}
	for run, curves := range runs {
		out[run] = map[string][]string{}
		for name, points := range curves {
			slices.SortStableFunc(points, func(a, b [2]any) int { return int(a[0].(float64) - b[0].(float64)) })
			for _, p := range points {
				v, err := strconv.ParseFloat(p[1].(string), 64)
				labtest.Must(t, err)
				out[run][name] = append(out[run][name], fmt.Sprint(p[0], " ", v))
			}
		}
	}
	return out
}

// curvesOf returns what the database has of a run, as readBack does. round is what the tracker does to numbers.
func curvesOf(t *testing.T, l lab.Lab, id string, name func(string) string, round func(float64) float64) map[string][]string {
	t.Helper()
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	last, err := r.LastSteps(t.Context(), id)
	labtest.Must(t, err)
	out := map[string][]string{}
	for metric := range last {
		curve, err := r.Curve(t.Context(), id, metric)
		labtest.Must(t, err)
		for _, p := range curve {
			out[name(metric)] = append(out[name(metric)], fmt.Sprint(p.Step, " ", round(float64(p.Value))))
		}
	}
	return out
}

func same(name string) string      { return name }
func exact(v float64) float64      { return v }
func single(v float64) float64     { return float64(float32(v)) }
func mlflowKey(name string) string { return strings.ReplaceAll(name, "@", "_at_") }

// sameCurves compares what a tracker has of a run with what the database has.
func sameCurves(t *testing.T, run string, got map[string]map[string][]string, want map[string][]string) {
	t.Helper()
	if len(got) != 1 || got[run] == nil {
		t.Errorf("the runs are %q, want %q", slices.Collect(mapKeys(got)), run)
		return
	}
	if len(got[run]) != len(want) {
		t.Errorf("%d metrics, want %d", len(got[run]), len(want))
	}
	for name, points := range want {
		if !slices.Equal(got[run][name], points) {
			t.Errorf("%s is %v, want %v", name, got[run][name], points)
		}
	}
}

func mapKeys(m map[string]map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// interrupted makes a run that is stopped after some steps, and whose trackers fail until then, goes on with it and returns it.
func interrupted(t *testing.T, l lab.Lab, blocked []string, set ...string) (id string, w *witness) {
	t.Helper()
	for _, path := range blocked {
		labtest.Must(t, os.WriteFile(path, nil, 0o600)) // where a folder should be
	}
	w = newWitness(5)
	out, err := Start(t.Context(), l, labtest.Spec(t, l, set...), w.stop, w)
	labtest.Must(t, err)
	if out.Status != clip.StatusInterrupted {
		t.Fatalf("the run is %s", out.Status)
	}
	if len(blocked) > 0 && strings.Count(strings.Join(w.events, "\n"), "the run goes on") != len(blocked) {
		t.Errorf("told %q", w.events)
	}
	for _, path := range blocked {
		labtest.Must(t, os.Remove(path))
	}
	again := newWitness(0)
	out, err = Resume(t.Context(), l, out.ID, nil, again)
	labtest.Must(t, err)
	if out.Status != clip.StatusDone {
		t.Fatalf("the run is %s", out.Status)
	}
	for _, e := range again.events {
		if strings.Contains(e, "values of the run") {
			t.Errorf("told %q", e)
		}
	}
	return out.ID, again
}

// What a tracker missed before a run was resumed it gets from the database.
func TestATrackerThatWasAwayHasTheWholeRunInTheEnd(t *testing.T) {
	l, dir := labtest.New(t), t.TempDir()
	tb, tk := filepath.Join(dir, "tb"), filepath.Join(dir, "tk")
	id, _ := interrupted(t, l, []string{tb, tk}, "name=x", "variant=v", "report=[{tensorboard: {dir: "+tb+"}}, {trackio: {dir: "+tk+"}}]")
	newest, err := tensorboard.New(tb).Open(t.Context(), sink.Run{ID: id, Experiment: "x", Variant: "v", From: 1000})
	labtest.Must(t, err)
	if got := newest("train/loss"); got != 8 {
		t.Errorf("the newest step is %d, want 8", got)
	}
	python := trackersPython(t)
	sameCurves(t, "x/v-seed0-"+id, readBack(t, python, "tensorboard", tb), curvesOf(t, l, id, same, single))
	sameCurves(t, "v, seed 0 "+id+" done", readBack(t, python, "trackio", tk, "x"), curvesOf(t, l, id, same, exact))
}
