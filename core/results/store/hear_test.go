package store

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/core/clip"
)

// Who hears a run is given what is committed, in order, and reads the same back.
func TestWhoHearsARunIsGivenWhatIsCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run, err := db.Begin(t.Context(), RunMeta{Experiment: "x"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var heard []string
	run.Hear(func(at time.Time, step int, values []clip.Metric) {
		if curve, err := r.Curve(t.Context(), run.ID(), values[0].Name); err != nil || len(curve) == 0 || curve[len(curve)-1].Step < step || at.IsZero() {
			t.Errorf("step %d was heard before it was committed: %v, %v", step, curve, err)
		}
		heard = append(heard, fmt.Sprint(step, values))
	})
	var want []string
	for step := range 20 {
		values := []clip.Metric{{Name: "a", Value: float64(step) / 3}, {Name: "b", Value: math.NaN()}}[:1+step%2]
		want = append(want, fmt.Sprint(step, values))
		if err := run.Metrics(step, values); err != nil {
			t.Fatal(err)
		}
		values[0].Value = -1 // the caller's again
	}
	if err := run.Finish(t.Context(), clip.StatusDone, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	last, err := r.LastSteps(t.Context(), run.ID())
	if err != nil || len(last) != 2 || last["a"] != 19 || last["b"] != 19 {
		t.Errorf("the last steps are %v, %v", last, err)
	}
	between, err := r.Between(t.Context(), run.ID(), 3, 15)
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, s := range between {
		read = append(read, fmt.Sprint(s.Step, s.Values))
	}
	if !slices.Equal(read, want[4:16]) {
		t.Errorf("read %v, want %v", read, want[4:16])
	}
}

func TestARunThatHasFinishedTakesEventsAfterwards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run, err := db.Begin(t.Context(), RunMeta{Experiment: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Finish(t.Context(), clip.StatusDone, nil); err != nil {
		t.Fatal(err)
	}
	if err := run.Event("warning", "k", "too late", ""); err == nil {
		t.Error("a run that has finished takes events")
	}
	if err := run.Afterwards(t.Context(), "warning", "k", "a tracker lacks values", ""); err != nil {
		t.Fatal(err)
	}
	d, err := db.Get(t.Context(), run.ID())
	if err != nil {
		t.Fatal(err)
	}
	if d.Status != "done" || len(d.Events) != 1 || !strings.Contains(d.Events[0].Message, "lacks") {
		t.Errorf("the run is %s with %v", d.Status, d.Events)
	}
}
