package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fault.Format(err))
	}
}

// tower and loss save what checkpoints need of plugins.
type (
	tower struct{ clip.Encoder }
	loss  struct{ clip.Loss }
)

func (tower) Save(_ context.Context, path string) error {
	return os.WriteFile(path, []byte("weights"), 0o644)
}
func (loss) Save(_ context.Context, path string) error {
	return os.WriteFile(path, []byte("weights"), 0o644)
}

// writeCheckpoints writes checkpoints of a run as training does, and returns their records.
func writeCheckpoints(t *testing.T, l Lab, id string, steps ...int) (recorded []store.Checkpoint) {
	t.Helper()
	for _, step := range steps {
		path, err := train.WriteCheckpoint(t.Context(), filepath.Join(l.Dir(id), CheckpointsDir),
			train.Parts{Image: tower{}, Text: tower{}, Loss: loss{}}, train.State{Step: step, Run: id})
		must(t, err)
		recorded = append(recorded, store.Checkpoint{Step: step, Dir: path})
	}
	return recorded
}

// Checkpoints are found where the results are now, and what is damaged is passed over.
func TestCheckpointsAreFoundWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	l := Lab{DB: filepath.Join(dir, "project", "results.db"), RunsDir: filepath.Join(dir, "project", "runs")}
	const id = "0abcdefgh1"
	recorded := writeCheckpoints(t, l, id, 2, 1)
	find := func() (Checkpoint, error) { return l.FindCheckpoint(id, recorded, train.Verify) }
	f, err := find()
	if err != nil || f.Step != 2 || f.Moved || len(f.Skipped) != 0 {
		t.Errorf("in place: %+v, %v", f, err)
	}
	// The whole folder is moved.
	to := filepath.Join(t.TempDir(), "project")
	must(t, os.Rename(filepath.Dir(l.RunsDir), to))
	l.DB, l.RunsDir = filepath.Join(to, "results.db"), filepath.Join(to, "runs")
	f, err = find()
	if err != nil || f.Step != 2 || !f.Moved || f.Dir != filepath.Join(l.Dir(id), CheckpointsDir, "step-00000002") {
		t.Errorf("moved: %+v, %v", f, err)
	}
	runs := l.RunsDir
	l.RunsDir = filepath.Join(t.TempDir(), "nowhere")
	if f, err = find(); err != nil || f.Step != 2 {
		t.Errorf("beside the database: %+v, %v", f, err)
	}
	l.RunsDir = runs
	// The newest is damaged, then all are.
	for step := 2; step >= 1; step-- {
		path := filepath.Join(l.Dir(id), CheckpointsDir, fmt.Sprintf("step-%08d", step), train.TextFile)
		must(t, os.WriteFile(path, []byte("weightz"), 0o644))
		f, err = find()
		if step == 2 && (err != nil || f.Step != 1 || len(f.Skipped) != 1 || !strings.Contains(f.Skipped[0], train.TextFile)) {
			t.Errorf("the newest is damaged: %+v, %v", f, err)
		}
	}
	if fault.KindOf(err) != fault.Corrupt {
		t.Errorf("all are damaged: %+v, %v", f, err)
	}
	must(t, os.RemoveAll(l.Dir(id)))
	if f, err = find(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("all are gone: %+v, %v", f, err)
	}
	if f, err := l.FindCheckpoint(id, nil, train.Verify); err != nil || f.Step != -1 {
		t.Errorf("of a run without: %+v, %v", f, err)
	}
}

func TestCheckpointFoldersAreToldFromWhatElseLiesThere(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"checkpoints/step-00000010", "checkpoints/step-00000009", "checkpoints/step-00000011.tmp", "checkpoints/notes",
		"step-00000001", "logs"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "checkpoints", "step-00000012"), nil, 0o644))
	must(t, os.Symlink(t.TempDir(), filepath.Join(dir, "checkpoints", "step-00000013")))
	whole, half := CheckpointFolders(dir)
	names := func(paths []string) (list []string) {
		for _, p := range paths {
			list = append(list, filepath.Base(p))
		}
		return list
	}
	if got := names(whole); !slices.Equal(got, []string{"step-00000001", "step-00000009", "step-00000010"}) {
		t.Errorf("whole: %v", got)
	}
	if got := names(half); !slices.Equal(got, []string{"step-00000011.tmp"}) {
		t.Errorf("half written: %v", got)
	}
	linked := t.TempDir()
	must(t, os.Symlink(filepath.Join(dir, CheckpointsDir), filepath.Join(linked, CheckpointsDir)))
	if whole, half := CheckpointFolders(linked); len(whole)+len(half) != 0 {
		t.Errorf("through a link: %v, %v", whole, half)
	}
}
