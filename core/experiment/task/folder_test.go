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
