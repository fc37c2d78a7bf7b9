package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
)

// taught returns a spec whose loss takes negatives, second views, groups and a teacher, and the checkpoint of another run
// from which the teacher comes.
func taught(t *testing.T, l lab.Lab, set ...string) (s *spec.Spec, teacher string) {
	t.Helper()
	out, err := Start(t.Context(), l, labtest.Spec(t, l, "seed=5", "train.max_steps=2"), nil, Quiet{})
	labtest.Must(t, err)
	teacher = filepath.Join(l.Dir(out.ID), lab.CheckpointsDir, "step-00000002")
	text := strings.Replace(labtest.Text, "loss: {plugin: pull}", `loss: {plugin: compare}
teacher: {image: {encoder: tint}, text: {encoder: letters}, init: {weights: `+teacher+`}}`, 1)
	text = strings.Replace(text, "train: {dataset: dots}", "train: {dataset: dots, with: {negatives: 2, fade: true}}", 1)
	s, err = l.Load(labtest.File(t, l, text), set)
	labtest.Must(t, err)
	return s, teacher
}

// Everything that a loss may take goes through real processes, whole and in micro-batches, and a stopped run goes on to
// the same numbers.
func TestALossThatTakesEverythingIsTrainedWith(t *testing.T) {
	l, w := labtest.New(t), newWitness(0)
	s, teacher := taught(t, l)
	whole, err := Start(t.Context(), l, s, nil, w)
	labtest.Must(t, err)
	_, want := lossesOf(t, l, whole.ID)
	if len(want) != 8 || want[0] == want[7] {
		t.Fatalf("losses %v", want)
	}
	d := detailOf(t, l, whole.ID)
	var roles []string
	for _, p := range d.Plugins {
		roles = append(roles, p.Role)
	}
	for _, role := range []string{"teacher.image", "teacher.text"} {
		if !slices.Contains(roles, role) {
			t.Errorf("recorded plugins are of %v", roles)
		}
		if _, err := os.Stat(filepath.Join(l.Dir(whole.ID), lab.LogsDir)); err != nil {
			t.Error(err)
		}
	}
	for _, part := range []string{"negatives", "view2", "teacher_image", "teacher_text"} {
		if _, ok := d.Metrics["train/loss/"+part]; !ok {
			t.Errorf("no metric of the part %s: %v", part, d.Metrics)
		}
	}

	s, _ = taught(t, l, "train.micro_batch_size=4", "teacher.init.weights="+teacher)
	parts, err := Start(t.Context(), l, s, nil, Quiet{})
	labtest.Must(t, err)
	_, got := lossesOf(t, l, parts.ID)
	for i := range want {
		if diff := got[i] - want[i]; diff > 1e-5 || diff < -1e-5 {
			t.Errorf("in micro-batches losses %v, whole %v", got, want)
			break
		}
	}

	w = newWitness(3)
	s, _ = taught(t, l, "teacher.init.weights="+teacher)
	first, err := Start(t.Context(), l, s, w.stop, w)
	labtest.Must(t, err)
	again, err := Resume(t.Context(), l, first.ID, nil, Quiet{})
	labtest.Must(t, err)
	if _, got := lossesOf(t, l, again.ID); again.Status != clip.StatusDone || !slices.Equal(got, want) {
		t.Errorf("resumed %s: losses %v, of the uninterrupted run %v", again.Status, got, want)
	}
}

// A run does not go on with another teacher than it began with.
func TestARunGoesOnWithItsOwnTeacherOnly(t *testing.T) {
	l, w := labtest.New(t), newWitness(3)
	s, teacher := taught(t, l)
	first, err := Start(t.Context(), l, s, w.stop, w)
	labtest.Must(t, err)
	path := filepath.Join(teacher, "image.safetensors")
	data, err := os.ReadFile(path)
	labtest.Must(t, err)
	data[len(data)-1] ^= 1
	labtest.Must(t, os.WriteFile(path, data, 0o644))
	if _, err := Resume(t.Context(), l, first.ID, nil, Quiet{}); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "teacher.init.weights") {
		t.Errorf("with another teacher: %v", err)
	}
}

func TestWhatTheDataCannotGiveIsSaidBeforeTraining(t *testing.T) {
	l := labtest.New(t)
	s, _ := taught(t, l, "data.train.with.fade=false")
	if _, err := Start(t.Context(), l, s, nil, Quiet{}); err == nil || !strings.Contains(err.Error(), "data.train") || !strings.Contains(err.Error(), "every view of a picture is the same") {
		t.Errorf("views that do not differ: %v", err)
	}
	s, _ = taught(t, l)
	s.Data.Train[0].With = []byte(`{"fade": true, "negatives": 0}`)
	if _, err := Start(t.Context(), l, s, nil, Quiet{}); err == nil || !strings.Contains(err.Error(), "gives no negatives") {
		t.Errorf("no negatives: %v", err)
	}
}
