package assemble

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// listener keeps the events that it is told.
type listener struct {
	told []string
}

func (*listener) Doing(string) {}

func (l *listener) Event(level, message string) { l.told = append(l.told, level+": "+message) }

// telling begins a run in a database of its own, recorded through a Recorder.
func telling(t *testing.T) (*Recorder, *listener) {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "r.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rec, err := db.Begin(t.Context(), store.RunMeta{Experiment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	return &Recorder{rec, l}, l
}

// Whoever records an event, the trainer's alarm of a collapse among them, has told it by that.
func TestWhatIsRecordedIsTold(t *testing.T) {
	rec, l := telling(t)
	var trainers clip.Recorder = rec
	if err := trainers.Event("warning", "collapsed", "the loss is that of chance", ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{"warning: the loss is that of chance"}; !slices.Equal(l.told, want) {
		t.Errorf("told %q, want %q", l.told, want)
	}
}

func TestDataThatIsNotAsItShouldBeIsAnnounced(t *testing.T) {
	s := &spec.Spec{Data: spec.Data{MaxBadShare: .05}, Eval: []spec.Eval{{Name: "e", MaxBadShare: .5, ZeroShot: &spec.ZeroShot{Classes: "label"}}}}
	info := clip.DatasetInfo{Len: 8, Skipped: 2, Remarks: []string{"something odd"}, Skips: []clip.Skip{{Reason: "no caption", Count: 2, First: "line 7"}},
		Targets: []clip.Target{{Name: "label", Classes: []string{"polar bear", "cat", "Polar  bear"}}}}
	m := &Model{Starter: &Starter{Spec: s}, data: []Dataset{{Info: info, section: "data.train", entry: -1}, {Info: info, section: "eval[0]"}}}
	rec, l := telling(t)
	err := m.Announce(rec)
	f, ok := err.(*fault.Error)
	if !ok || f.Kind != fault.Corrupt || f.Path != "data.max_bad_share" || !strings.Contains(f.Detail, "something odd") || !strings.Contains(f.Detail, "line 7") {
		t.Errorf("got %v", err)
	}
	all := strings.Join(l.told, "\n")
	for _, want := range []string{"data.train: 2 of 10 records (20.0 %) are refused (2 no caption); the first with no caption: line 7", "eval[0]: 2 of 10 records", "data.train: something odd", `"Polar  bear" (0 and 2)`} {
		if !strings.Contains(all, want) {
			t.Errorf("not told %q:\n%s", want, all)
		}
	}
	s.Data.MaxBadShare = .2
	if err := m.Announce(rec); err != nil {
		t.Errorf("as many as allowed: %v", err)
	}
}

func TestClassNamesOfTheSpecReplaceTheDatasets(t *testing.T) {
	info := clip.DatasetInfo{Targets: []clip.Target{{Name: "other", Classes: []string{"x"}}, {Name: "label", Classes: []string{"n01", "n02"}}}}
	z := &spec.ZeroShot{Classes: "label", ClassNames: []string{"tench", "goldfish"}}
	got, err := renameClasses(info, z, "eval[0]")
	if err != nil || !slices.Equal(got.Targets[1].Classes, z.ClassNames) || info.Targets[1].Classes[0] != "n01" {
		t.Errorf("%+v, %v; the dataset's own: %v", got.Targets, err, info.Targets[1].Classes)
	}
	z.ClassNames = z.ClassNames[:1]
	if _, err := renameClasses(info, z, "eval[0]"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "eval[0].zero_shot.class_names") {
		t.Errorf("one name for two classes: %v", err)
	}
}
