package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/run"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func TestTheFolderOfARunHoldsItsSpec(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l, "train.lr=0.125")
	dir, err := l.MakeDir("0abcdefgh1", s)
	labtest.Must(t, err)
	if want := filepath.Join(l.RunsDir, "0abcdefgh1"); dir != want || l.Dir("0abcdefgh1") != want {
		t.Errorf("the folder is %s, want %s", dir, want)
	}
	own, err := l.OwnSpec(&store.RunDetail{RunInfo: store.RunInfo{ID: "0abcdefgh1"}})
	labtest.Must(t, err)
	if own.Train.LR != 0.125 || own.YAML(false) != s.YAML(false) {
		t.Errorf("read back:\n%s", own.YAML(false))
	}
}

// What is no id has no folder, whatever a database says.
func TestOnlyRunsHaveFolders(t *testing.T) {
	l := labtest.New(t)
	s := labtest.Spec(t, l)
	for _, id := range []string{"", ".", "..", "../precious", "/etc", "0abcdefgh", "0ABCDEFGH1"} {
		if dir := l.Dir(id); dir != "" {
			t.Errorf("the folder of %q is %s", id, dir)
		}
		if _, err := l.MakeDir(id, s); fault.KindOf(err) != fault.Invalid {
			t.Errorf("made for %q: %v", id, err)
		}
	}
	if _, err := os.Stat(l.RunsDir); err == nil {
		t.Error("folders were made all the same")
	}
	l.RunsDir = filepath.Join(labtest.File(t, l, "a file"), "below")
	if _, err := l.MakeDir("0abcdefgh1", s); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Format(err), "--runs-dir") {
		t.Errorf("below a file: %v", err)
	}
}

func TestARunIsFoundWithItsCheckpoint(t *testing.T) {
	l := labtest.New(t)
	out, err := run.Start(t.Context(), l, labtest.Spec(t, l, "train.max_steps=4", "train.keep_checkpoints=2"), nil, run.Quiet{})
	labtest.Must(t, err)
	var notes []string
	l.Note = func(message string) { notes = append(notes, message) }
	for _, ref := range []string{out.ID, out.ID[:6], "latest"} {
		d, c, err := l.Trained(t.Context(), ref)
		labtest.Must(t, err)
		if d.ID != out.ID || c.Step != 4 || c.Dir != out.Result.CheckpointDir || c.Moved {
			t.Errorf("%s: run %s, %+v", ref, d.ID, c)
		}
		s, err := l.RecordedSpec(d)
		if err != nil || s.Train.MaxSteps != 4 {
			t.Errorf("%s: the recorded spec: %v", ref, err)
		}
	}
	if len(notes) != 0 {
		t.Errorf("told %q", notes)
	}
	labtest.Must(t, os.RemoveAll(out.Result.CheckpointDir))
	_, c, err := l.Trained(t.Context(), "latest")
	labtest.Must(t, err)
	if c.Step != 2 || len(notes) != 1 || !strings.Contains(notes[0], "the checkpoint of step 4 is passed over") {
		t.Errorf("without the newest: %+v, told %q", c, notes)
	}
	if _, _, err := l.Trained(t.Context(), "nosuch"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of no run: %v", err)
	}
}

func TestRunsWhoseRunnerIsGoneAreMarked(t *testing.T) {
	l := labtest.New(t)
	labtest.Must(t, l.MarkDead(t.Context()))
	if _, err := os.Stat(l.DB); err == nil {
		t.Error("a database was made")
	}
	db, err := l.Database()
	labtest.Must(t, err)
	rec, err := db.Begin(t.Context(), store.RunMeta{Experiment: "e"})
	labtest.Must(t, err)
	labtest.Must(t, l.MarkDead(t.Context())) // this process is alive
	r, err := store.OpenReader(l.DB)
	labtest.Must(t, err)
	defer r.Close()
	d, err := r.Get(t.Context(), rec.ID())
	labtest.Must(t, err)
	if d.Status != string(clip.StatusRunning) {
		t.Errorf("a run of this process is %s", d.Status)
	}
	labtest.Must(t, rec.Finish(t.Context(), clip.StatusDone, nil))
	labtest.Must(t, db.Close())
}

func TestASpecIsCheckedWithTheCatalog(t *testing.T) {
	l := labtest.New(t)
	_, err := l.Load(labtest.File(t, l, strings.Replace(labtest.Text, "dataset: dots}", "dataset: dotz}", 1)), nil)
	if fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "dotz") {
		t.Errorf("another dataset: %v", err)
	}
	if s, err := l.Load(labtest.File(t, l, labtest.Text), []string{"seed=7"}); err != nil || s.Seed != 7 {
		t.Errorf("with a key set: %v", err)
	}
}
