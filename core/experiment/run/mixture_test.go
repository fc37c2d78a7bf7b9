package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/results/store"
)

// two asks for a mixture of dots, of which the fewer come round several times.
const two = "data.train=[{dataset: dots, weight: 0.75, shuffle: shards, shuffle_window: 5}, {dataset: dots, name: few, with: {samples: 7, fade: true, broken: 2}, weight: 0.25}]"

// A mixture gives the same numbers with other workers, and after a stop, and the sources are plugins of the run.
func TestAMixtureIsTrainedOn(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	set := []string{two, "data.max_bad_share=1"}
	whole, err := Start(t.Context(), l, labtest.Spec(t, l, set...), nil, w)
	labtest.Must(t, err)
	_, want := lossesOf(t, l, whole.ID)
	if b := w.began[0]; b.Data.Len != 39 || len(b.Sources) != 2 || b.Sources[1].Name != "few" || b.Sources[1].Info.Len != 7 {
		t.Errorf("began with %+v and %+v", b.Data, b.Sources)
	}
	counts := whole.Result.Counts
	if len(counts.Sources) != 2 || counts.Sources[0].Samples != 48 || counts.Sources[1].Samples != 16 || counts.Sources[1].Replaced == 0 || counts.Sources[0].Replaced != 0 {
		t.Errorf("counted %+v", counts)
	}
	d := detailOf(t, l, whole.ID)
	if len(d.Sources) != 2 || d.Sources[1].Name != "few" || d.Sources[1].Seen != 16 || d.Sources[1].Replaced != counts.Sources[1].Replaced || d.Sources[0].Seen != 48 {
		t.Errorf("sources %+v", d.Sources)
	}
	if len(d.Skips) != 1 || d.Skips[0] != (store.Skip{Role: "data.train.few", Stage: store.StageReplaced, Reason: "no picture", N: counts.Replaced, First: d.Skips[0].First}) {
		t.Errorf("skips %+v", d.Skips)
	}
	var roles []string
	for _, p := range d.Plugins {
		roles = append(roles, p.Role)
	}
	if !slices.Contains(roles, "data.train.dots") || !slices.Contains(roles, "data.train.few") {
		t.Errorf("plugins %v", roles)
	}
	if !slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, "few/dot-2") }) {
		t.Errorf("no event names the sample by its source: %q", w.events)
	}

	stopped := newWitness(3)
	s := labtest.Spec(t, l, append(set, "data.workers=7", "name=again")...)
	_, err = Start(t.Context(), l, s, stopped.stop, stopped)
	labtest.Must(t, err)
	again, err := ResumeSpec(t.Context(), l, s, nil, newWitness(0))
	labtest.Must(t, err)
	if _, got := lossesOf(t, l, again.ID); again.Status != clip.StatusDone || !slices.Equal(got, want) {
		t.Errorf("%s: losses %v, of the uninterrupted run %v", again.Status, got, want)
	}
	if e := detailOf(t, l, again.ID); !slices.Equal(e.Sources, d.Sources) || !slices.Equal(e.Skips, d.Skips) {
		t.Errorf("recorded %+v and %+v, want %+v and %+v", e.Sources, e.Skips, d.Sources, d.Skips)
	}
	if fmt.Sprint(again.Result.Counts) != fmt.Sprint(counts) {
		t.Errorf("counted %+v, want %+v", again.Result.Counts, counts)
	}
}

// An epoch is as long as the spec says.
func TestEpochsOfSoManySamples(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	out, err := Start(t.Context(), l, labtest.Spec(t, l, "data.epoch_samples=16", "train.max_steps=0", "train.epochs=3"), nil, w)
	labtest.Must(t, err)
	if out.Result.Steps != 6 || w.began[0].StepsPerEpoch != 2 {
		t.Errorf("%d steps of epochs of %d", out.Result.Steps, w.began[0].StepsPerEpoch)
	}
}
