package task

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/experiment/ledger"
)

// What an attempt goes on from is its own: it stays when the attempt before removes it, and nothing else is taken over.
func TestAnAttemptInheritsCheckpoints(t *testing.T) {
	l := ledger.Ledger{Dir: filepath.Join(t.TempDir(), "a*b[c]")}
	from, to := runsBeside(l.FilePath("x", 1, databaseEnding)), runsBeside(l.FilePath("x", 2, databaseEnding))
	put := func(name string) {
		path := filepath.Join(from, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(name), 0o644))
	}
	kept := []string{"run1/checkpoints/step-00000003/image", "run1/checkpoints/step-00000003/state.json", "run1/evaluations/step-00000002/image"}
	for _, name := range append([]string{"run1/spec.yaml", "run1/logs/image.log", "run1/checkpoints/step-00000004.tmp/image"}, kept...) {
		put(name)
	}
	must(t, inherit(from, to))
	must(t, os.WriteFile(l.FilePath("x", 1, databaseEnding), nil, 0o644))
	clear(l, "x", 1)
	for _, name := range kept {
		if text, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(text) != name {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
	if all, err := filepath.Glob(quote(to) + "/*/*/*/*"); err != nil || len(all) != len(kept) {
		t.Errorf("taken over: %v", all)
	}
	if all, err := filepath.Glob(quote(l.TrialDir("x")) + "/0001.*/*/*"); err != nil || len(all) != 2 {
		t.Errorf("left of the attempt before: %v", all)
	}
	if _, err := os.Stat(l.FilePath("x", 1, databaseEnding)); err == nil {
		t.Error("its snapshot is left")
	}
	must(t, inherit(filepath.Join(l.Dir, "nothing"), to))
}

// A file server whose answer gets lost makes a link and calls it an error. What is there under a file's name may be a link to a file of somebody
// else, which stays as it is.
func TestWhatIsInheritedSpoilsNothing(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "0001.runs"), filepath.Join(dir, "0002.runs")
	const step = "run1/checkpoints/step-00000003"
	write := func(path, text string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	has := func(path, want string) {
		t.Helper()
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s has %q, want %q (%v)", path, text, want, err)
		}
	}
	write(filepath.Join(from, step, "image"), "weights")
	write(filepath.Join(from, step, "image"+copyEnding), "half") // of an attempt that was killed
	must(t, inherit(from, to))
	must(t, inherit(from, to)) // the link is there
	has(filepath.Join(from, step, "image"), "weights")
	has(filepath.Join(to, step, "image"), "weights")

	precious := filepath.Join(dir, "precious")
	write(precious, "of somebody else")
	own := filepath.Join(to, step, "image")
	must(t, os.Remove(own))
	must(t, os.Link(precious, own))
	must(t, inherit(from, to))
	has(own, "weights")
	has(precious, "of somebody else")
	if all, err := os.ReadDir(filepath.Join(to, step)); err != nil || len(all) != 1 {
		t.Errorf("left beside it: %v, %v", all, err)
	}
}
