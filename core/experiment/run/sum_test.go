package run

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/spec"
	"tandem/core/results/store"
)

const halves = "loss=[{plugin: pull, weight: 0.5}, {plugin: pull, name: other, weight: 0.5}]"

func lastOf(t *testing.T, d *store.RunDetail, metric string) float64 {
	t.Helper()
	m, ok := d.Metrics[metric]
	if !ok {
		t.Fatalf("no metric %s", metric)
	}
	return float64(m.Last)
}

// Two halves of a loss train as the whole, at once or one after the other, and a stopped run goes on to the same numbers.
func TestASumOfLossesIsTrainedWith(t *testing.T) {
	l := labtest.New(t)
	start := func(set ...string) string {
		out, err := Start(t.Context(), l, labtest.Spec(t, l, set...), nil, Quiet{})
		labtest.Must(t, err)
		return out.ID
	}
	_, want := lossesOf(t, l, start())
	whole := start(halves)
	_, apart := lossesOf(t, l, start(halves, "train.parallel_towers=false", "name=apart"))
	if _, got := lossesOf(t, l, whole); !slices.Equal(got, want) || !slices.Equal(apart, want) {
		t.Errorf("losses %v, one after the other %v, of the loss alone %v", got, apart, want)
	}
	d := detailOf(t, l, whole)
	for _, name := range []string{"train/loss/pull", "train/loss/pull/pull", "train/loss/other", "train/loss/other/pull"} {
		if got := lastOf(t, d, name); got != want[len(want)-1] {
			t.Errorf("%s is %v, the loss %v", name, got, want[len(want)-1])
		}
	}
	if got := lastOf(t, d, "train/other/logit_scale"); math.Abs(got-10) > 1e-5 {
		t.Errorf("the scale of other is %v", got)
	}
	for _, role := range []string{"loss.pull", "loss.other"} {
		if !slices.ContainsFunc(d.Plugins, func(p store.Plugin) bool { return p.Role == role && p.Name == "losses/pull" }) {
			t.Errorf("no plugin %s: %+v", role, d.Plugins)
		}
	}
	if dir := filepath.Join(l.Dir(whole), lab.CheckpointsDir, "step-00000008"); !slices.Equal(filesIn(t, dir), []string{
		"image.safetensors", "loss.other.safetensors", "loss.pull.safetensors", "state.json", "text.safetensors"}) {
		t.Errorf("the checkpoint has %v", filesIn(t, dir))
	}

	stopped := newWitness(3)
	s := labtest.Spec(t, l, halves, "name=again")
	first, err := Start(t.Context(), l, s, stopped.stop, stopped)
	labtest.Must(t, err)
	again, err := Resume(t.Context(), l, first.ID, nil, Quiet{})
	labtest.Must(t, err)
	if _, got := lossesOf(t, l, again.ID); again.Status != clip.StatusDone || !slices.Equal(got, want) {
		t.Errorf("%s: losses %v, of the uninterrupted run %v", again.Status, got, want)
	}
}

func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	labtest.Must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// summed returns the spec of taught with another loss beside the one that takes everything.
func summed(t *testing.T, l lab.Lab, set ...string) *spec.Spec {
	t.Helper()
	s, _ := taught(t, l, append(set, "loss=[{plugin: pull, weight: 2}, {plugin: compare, weight: 0.25}]")...)
	return s
}

// A member gets what it takes and no more; the value is the weighted sum, whole and in micro-batches.
func TestAMemberGetsItsInputs(t *testing.T) {
	l := labtest.New(t)
	whole, err := Start(t.Context(), l, summed(t, l), nil, Quiet{})
	labtest.Must(t, err)
	_, want := lossesOf(t, l, whole.ID)
	d := detailOf(t, l, whole.ID)
	if sum := 2*lastOf(t, d, "train/loss/pull") + .25*lastOf(t, d, "train/loss/compare"); math.Abs(sum-want[7]) > 1e-6 {
		t.Errorf("the loss is %v, the sum of its members %v", want[7], sum)
	}
	parts, err := Start(t.Context(), l, summed(t, l, "train.micro_batch_size=4"), nil, Quiet{})
	labtest.Must(t, err)
	_, got := lossesOf(t, l, parts.ID)
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-5 {
			t.Fatalf("in micro-batches losses %v, whole %v", got, want)
		}
	}
	_, err = Start(t.Context(), l, summed(t, l, "data.train.with.fade=false"), nil, Quiet{})
	if err == nil || !strings.Contains(err.Error(), "losses/compare takes image_view2") {
		t.Errorf("views that do not differ: %v", err)
	}
}

// Of published weights the first loss that has a logit_scale takes it; from a checkpoint of a sum each takes its own.
func TestWeightsComeToTheLossesOfASum(t *testing.T) {
	l := labtest.New(t)
	out, err := Start(t.Context(), l, labtest.Spec(t, l, halves), nil, Quiet{})
	labtest.Must(t, err)
	dir := filepath.Join(l.Dir(out.ID), lab.CheckpointsDir, "step-00000008")
	labtest.SetScale(t, filepath.Join(dir, "loss.pull.safetensors"), 20)
	labtest.SetScale(t, filepath.Join(dir, "loss.other.safetensors"), 30)
	scales := func(set ...string) (first, second float64) {
		s := labtest.Spec(t, l, append(set, "init.weights="+dir, "train.max_steps=1")...)
		out, err := Start(t.Context(), l, s, nil, Quiet{})
		labtest.Must(t, err)
		d := detailOf(t, l, out.ID)
		if len(s.Losses) == 1 {
			return lastOf(t, d, "train/logit_scale"), 0
		}
		return lastOf(t, d, "train/"+s.Losses[0].Name+"/logit_scale"), lastOf(t, d, "train/"+s.Losses[1].Name+"/logit_scale")
	}
	for set, want := range map[string][2]float64{
		halves:                {20, 30},
		"loss={plugin: pull}": {20, 0},
		"loss=[{plugin: pull, name: other}, {plugin: pull, name: third}]":  {30, 10},
		"loss=[{plugin: pull, name: first}, {plugin: pull, name: second}]": {20, 10},
	} {
		if a, b := scales(set); math.Abs(a-want[0]) > 1e-4 || math.Abs(b-want[1]) > 1e-4 {
			t.Errorf("%s: scales %v and %v, want %v", set, a, b, want)
		}
	}
}
