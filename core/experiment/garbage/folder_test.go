package garbage

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tandem/core/fault"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes folders (names that end in /) and files of ten bytes.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if name[len(name)-1] == '/' {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.WriteFile(path, []byte("0123456789"), 0o644))
	}
	return dir
}

func TestAFolderThatHoldsAnythingElseIsNoRuns(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		want  bool
	}{
		"of a run":               {[]string{"spec.yaml", "logs/a.log", "handover/plugin-loss.log/out/x", "checkpoints/step-00000001/state.json"}, true},
		"of a run of long ago":   {[]string{"spec.yaml", "step-00000001/state.json"}, true},
		"that is going":          {[]string{"spec.yaml", ".gc"}, true},
		"without a spec":         {[]string{"logs/a.log"}, false},
		"with a thesis":          {[]string{"spec.yaml", "thesis.tex"}, false},
		"with a thesis below":    {[]string{"spec.yaml", "checkpoints/thesis.tex"}, false},
		"whose logs are a file":  {[]string{"spec.yaml", "logs"}, false},
		"whose spec is a folder": {[]string{"spec.yaml/"}, false},
		"that is empty":          {nil, false},
	} {
		if got := looksLikeRun(tree(t, c.names...)); got != c.want {
			t.Errorf("a folder %s: %v", name, got)
		}
	}
	if looksLikeRun(filepath.Join(t.TempDir(), "none")) {
		t.Error("no folder looks like a run's")
	}
}

func TestWeightsThatLieInAFolderKeepIt(t *testing.T) {
	dir := tree(t, "runs/0abcdefgh1/checkpoints/step-00000001/image.safetensors", "runs/0abcdefgh1/checkpoints/step-00000002/image.safetensors")
	run := filepath.Join(dir, "runs", "0abcdefgh1")
	first, second := filepath.Join(run, "checkpoints", "step-00000001"), filepath.Join(run, "checkpoints", "step-00000002")
	link := filepath.Join(dir, "best")
	must(t, os.Symlink(first, link))
	for name, c := range map[string]struct {
		weights            string
		run, first, second bool // whether it keeps the folder of the run and of its checkpoints
	}{
		"the run":                      {run, true, true, true},
		"a checkpoint":                 {first, true, true, false},
		"a file in a checkpoint":       {filepath.Join(first, "image.safetensors"), true, true, false},
		"a link to a checkpoint":       {link, true, true, false},
		"a path of another machine":    {"/home/else/runs/0abcdefgh1/checkpoints/step-00000001", true, true, false},
		"the run, on another machine":  {"/home/else/0abcdefgh1", true, true, true},
		"a folder that is named alike": {"/home/else/0abcdefgh1x/step-00000001", false, false, false},
		"nothing":                      {"", false, false, false},
	} {
		for at, want := range map[string]bool{run: c.run, first: c.first, second: c.second} {
			if got := isUsed([]string{"other", c.weights}, "0abcdefgh1", at); got != want {
				t.Errorf("weights that name %s keep %s: %v, want %v", name, filepath.Base(at), got, want)
			}
		}
	}
}

func TestTheLastChangeIsThatOfAnythingThatRunsChange(t *testing.T) {
	dir := tree(t, "spec.yaml", "logs/a.log", "checkpoints/step-00000001/state.json")
	old, young := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	all := []string{"", "spec.yaml", "logs", "logs/a.log", "checkpoints", "checkpoints/step-00000001"}
	touch := func(name string, at time.Time) { must(t, os.Chtimes(filepath.Join(dir, name), at, at)) }
	for _, changed := range all {
		for _, name := range all {
			touch(name, old)
		}
		if got := lastChange(dir); !got.Equal(old) {
			t.Fatalf("nothing changed, but %v", got)
		}
		touch(changed, young)
		if got := lastChange(dir); !got.Equal(young) {
			t.Errorf("%q changed: %v", changed, got)
		}
	}
}

func TestTheSizeOfAFolderIsThatOfItsFiles(t *testing.T) {
	dir := tree(t, "a", "b/c", "b/d/e")
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	if got := folderSize(dir); got != 30 {
		t.Errorf("%d bytes, want 30", got)
	}
	if got := folderSize(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("of no folder: %d", got)
	}
}

func TestOnlyWhatLiesInTheRunsFolderIsRemoved(t *testing.T) {
	dir := tree(t, "runs/0abcdefgh1/spec.yaml", "precious/spec.yaml")
	runs := filepath.Join(dir, "runs")
	for _, path := range []string{runs, filepath.Join(dir, "precious"), filepath.Join(runs, "..", "precious"), dir} {
		if err := remove(runs, path); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", path, err)
		}
	}
	must(t, os.Symlink(filepath.Join(dir, "precious"), filepath.Join(runs, "0linklink1")))
	_ = remove(runs, filepath.Join(runs, "0linklink1", "spec.yaml")) // through a link: an error or nothing
	if !exists(filepath.Join(dir, "precious", "spec.yaml")) {
		t.Error("what lies elsewhere was removed through a link")
	}
	must(t, remove(runs, filepath.Join(runs, "0abcdefgh1")))
	must(t, remove(runs, filepath.Join(runs, "0abcdefgh1"))) // another gc was there first
	if exists(filepath.Join(runs, "0abcdefgh1")) || exists(filepath.Join(runs, goingPrefix+"0abcdefgh1")) {
		t.Error("the run's folder is still there")
	}
	must(t, os.MkdirAll(filepath.Join(runs, goingPrefix+"0abcdefgh1", "logs"), 0o755))
	must(t, remove(runs, filepath.Join(runs, goingPrefix+"0abcdefgh1")))
	if exists(filepath.Join(runs, goingPrefix+"0abcdefgh1")) {
		t.Error("what a gc left is still there")
	}
}
