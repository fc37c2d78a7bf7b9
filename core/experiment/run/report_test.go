package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/results/sink"
	"tandem/core/results/sink/tensorboard"
)

// interrupted makes a run that is stopped after some steps, and whose trackers fail until then, goes on with it and returns it.
func interrupted(t *testing.T, l lab.Lab, blocked []string, set ...string) string {
	t.Helper()
	for _, path := range blocked {
		labtest.Must(t, os.WriteFile(path, nil, 0o600)) // where a folder should be
	}
	w := newWitness(5)
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
	return out.ID
}

// What a tracker missed before a run was resumed it gets from the database.
func TestATrackerThatWasAwayHasTheWholeRunInTheEnd(t *testing.T) {
	l, dir := labtest.New(t), t.TempDir()
	tb, tk := filepath.Join(dir, "tb"), filepath.Join(dir, "tk")
	id := interrupted(t, l, []string{tb, tk}, "name=x", "variant=v", "report=[{tensorboard: {dir: "+tb+"}}, {trackio: {dir: "+tk+"}}]")
	newest, err := tensorboard.New(tb).Open(t.Context(), sink.Run{ID: id, Experiment: "x", Variant: "v", From: 1000})
	labtest.Must(t, err)
	if got := newest("train/loss"); got != 8 {
		t.Errorf("the newest step is %d, want 8", got)
	}
}
