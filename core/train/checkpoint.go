package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Files of a checkpoint folder.
const (
	ImageFile = "image.safetensors"
	TextFile  = "text.safetensors"
	LossFile  = "loss.safetensors"
	stateFile = "state.json"

	checkpointPrefix = "step-"
)

// State is what a checkpoint holds beside the plugins' own files. The position in the data and every
// random stream follow from Step.
type State struct {
	Step         int     `json:"step"`
	BatchSize    int     `json:"batch_size"`
	Samples      int     `json:"samples"`
	Seed         uint64  `json:"seed"`
	TrainSeconds float64 `json:"train_seconds"`
	LastLoss     float64 `json:"last_loss"`
	SmoothLoss   float64 `json:"smooth_loss"`
	Alarmed      bool    `json:"alarmed"`
	Counts
	// Unevaluated says that the evaluation due after Step was broken off.
	Unevaluated bool `json:"unevaluated,omitempty"`
}

// ReadState reads the state of a checkpoint folder.
func ReadState(dir string) (State, error) {
	var s State
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return s, fault.New(fault.NotFound, "checkpoint: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fault.New(fault.Corrupt, "checkpoint: %w", err).WithFile(path, 0, 0)
	}
	return s, nil
}

// Resume loads a checkpoint folder; Run then goes on after its step. A checkpoint of another data
// order (batch size, length or seed) is fault.Invalid.
func (t *Trainer) Resume(ctx context.Context, dir string) error {
	s, err := ReadState(dir)
	if err != nil {
		return err
	}
	if s.BatchSize != t.cfg.BatchSize || s.Samples != t.cfg.Samples || s.Seed != t.cfg.Seed {
		return fault.New(fault.Invalid, "checkpoint has batch_size %d, %d samples, seed %d; the run has %d, %d, %d",
			s.BatchSize, s.Samples, s.Seed, t.cfg.BatchSize, t.cfg.Samples, t.cfg.Seed).WithFile(dir, 0, 0)
	}
	for _, f := range t.files() {
		if err := f.part.Load(ctx, filepath.Join(dir, f.name)); err != nil {
			return withOp(err, "resume")
		}
	}
	t.state, t.ckptDir = s, dir
	return t.removeLater()
}

// removeLater removes what a killed run left after the step that is resumed: half-written
// checkpoints and whole ones that were never recorded.
func (t *Trainer) removeLater() error {
	names, err := t.checkpoints()
	if err != nil {
		return err
	}
	tmp, err := filepath.Glob(filepath.Join(t.cfg.Dir, checkpointPrefix+"*.tmp"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if name > folderName(t.state.Step) {
			tmp = append(tmp, filepath.Join(t.cfg.Dir, name))
		}
	}
	for _, dir := range tmp {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// folderName is zero-padded, so that names sort by step.
func folderName(step int) string { return fmt.Sprintf("%s%08d", checkpointPrefix, step) }

// checkpoints are the names of the whole checkpoints in the folder, oldest first.
func (t *Trainer) checkpoints() ([]string, error) {
	entries, err := os.ReadDir(t.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), checkpointPrefix) && !strings.HasSuffix(e.Name(), ".tmp") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

type partFile struct {
	name string
	part clip.Trainable
}

func (t *Trainer) files() []partFile { return t.parts.files() }

func (p Parts) files() []partFile {
	return []partFile{{ImageFile, p.Image}, {TextFile, p.Text}, {LossFile, p.Loss}}
}

// checkpoint writes the state after the newest step, unless there is one already: into a temporary
// folder, synced, renamed, then recorded after all metrics up to it are durable.
func (t *Trainer) checkpoint(ctx context.Context) error {
	if t.cfg.Dir == "" || !t.dirty {
		return nil
	}
	dir := filepath.Join(t.cfg.Dir, folderName(t.state.Step))
	if err := t.write(ctx, dir); err != nil {
		return withOp(diskFault(err), fmt.Sprintf("checkpoint: step %d", t.state.Step))
	}
	if err := t.rec.Flush(ctx); err != nil {
		return err
	}
	if err := t.rec.Checkpoint(t.state.Step, dir); err != nil {
		return err
	}
	if err := t.rec.Flush(ctx); err != nil {
		return err
	}
	t.ckptDir, t.dirty = dir, false
	if t.hooks.Checkpointed != nil {
		t.hooks.Checkpointed(t.state.Step, dir)
	}
	return t.prune()
}

func (t *Trainer) write(ctx context.Context, dir string) error {
	s := t.state
	s.BatchSize, s.Samples, s.Seed = t.cfg.BatchSize, t.cfg.Samples, t.cfg.Seed
	return writeCheckpoint(ctx, dir, t.parts, s)
}

// WriteCheckpoint writes towers and loss as a checkpoint below the folder dir, whole and durable or not
// at all, and gives its path. The data of parts is not used.
func WriteCheckpoint(ctx context.Context, dir string, parts Parts, s State) (string, error) {
	path := filepath.Join(dir, folderName(s.Step))
	if err := writeCheckpoint(ctx, path, parts, s); err != nil {
		return "", withOp(diskFault(err), fmt.Sprintf("checkpoint: step %d", s.Step))
	}
	return path, nil
}

func writeCheckpoint(ctx context.Context, dir string, parts Parts, s State) (err error) {
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	for _, f := range parts.files() {
		path := filepath.Join(tmp, f.name)
		if err := f.part.Save(ctx, path); err != nil {
			return err
		}
		if err := syncPath(path); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(tmp, stateFile)
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return err
	}
	if err := errors.Join(syncPath(path), syncPath(tmp)); err != nil {
		return err
	}
	// A folder of the same step can only be left from a run that was killed before recording it.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncPath(filepath.Dir(dir))
}

// prune removes all but the newest checkpoints.
func (t *Trainer) prune() error {
	if t.cfg.KeepCheckpoints <= 0 {
		return nil
	}
	names, err := t.checkpoints()
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-t.cfg.KeepCheckpoints)] {
		if err := os.RemoveAll(filepath.Join(t.cfg.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// diskFault says what to do about a full disk.
func diskFault(err error) error {
	var path *fs.PathError
	if errors.Is(err, syscall.ENOSPC) && errors.As(err, &path) {
		return fault.New(fault.Exhausted, "%w", err).
			WithHint("free some space or point --runs-dir at another disk, then run again with --resume")
	}
	return err
}
