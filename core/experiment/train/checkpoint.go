package train

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"tandem/core/clip"
	"tandem/core/experiment/objective"
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

// State holds what a checkpoint has beside the plugins' own files. The position in the data and every random
// stream follow from Step.
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
	Teacher string `json:"teacher,omitempty"` // names the content of the teachers' weights
	// Losses names the members of a sum of losses, in order; none of a loss alone.
	Losses []string `json:"losses,omitempty"`
	// Unevaluated says that the evaluation due after Step was not finished.
	Unevaluated bool `json:"unevaluated,omitempty"`

	// Run names the run that the checkpoint belongs to, Files describes the plugins' files by name, and Digest covers
	// the whole state. Checkpoints of older versions have none of the three.
	Run    string          `json:"run,omitempty"`
	Files  map[string]File `json:"files,omitempty"`
	Digest string          `json:"digest,omitempty"`
}

// File identifies what a file held when it was written.
type File struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// ReadState reads the state of a checkpoint folder. A state that is not the one that was written there yields
// fault.Corrupt.
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
	if s.Digest != "" && s.Digest != s.digest() {
		return s, fault.New(fault.Corrupt, "checkpoint: the state is not what was written: its digest differs").WithFile(path, 0, 0)
	}
	return s, nil
}

// LossFiles lists the files of the losses: LossFile alone, or one for each member of a sum, in order.
func (s State) LossFiles() []string {
	if len(s.Losses) == 0 {
		return []string{LossFile}
	}
	names := make([]string, len(s.Losses))
	for i, name := range s.Losses {
		names[i] = lossFileOf(name)
	}
	return names
}

// lossFileOf names the file of a member of a sum of losses.
func lossFileOf(member string) string { return "loss." + member + ".safetensors" }

// digest returns a digest of everything else in a state.
func (s State) digest() string {
	s.Digest = ""
	data, err := json.Marshal(s)
	if err != nil {
		return "" // what has no JSON is not written either
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// Check checks that a folder holds the checkpoint of a step of a run, as far as that can be seen without
// reading the plugins' files. run "" stands for any run. A missing checkpoint or file yields fault.NotFound, a
// wrong one fault.Corrupt.
func Check(dir, run string, step int) error {
	s, err := ReadState(dir)
	switch {
	case err != nil:
		return err
	case s.Step != step:
		return fault.New(fault.Corrupt, "checkpoint: the state is of step %d, want %d", s.Step, step).WithFile(dir, 0, 0)
	case s.Run != "" && run != "" && s.Run != run:
		return fault.New(fault.Corrupt, "checkpoint: it is of run %s, want %s", s.Run, run).WithFile(dir, 0, 0)
	}
	for _, name := range append([]string{ImageFile, TextFile}, s.LossFiles()...) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return fault.New(fault.NotFound, "checkpoint: %w", err)
		}
		if f, known := s.Files[name]; known && info.Size() != f.Bytes {
			return fault.New(fault.Corrupt, "checkpoint: the file has %d bytes, %d were written", info.Size(), f.Bytes).WithFile(path, 0, 0)
		}
	}
	return nil
}

// Verify does what Check does and also holds the contents of the plugins' files against their digests.
func Verify(dir, run string, step int) error {
	if err := Check(dir, run, step); err != nil {
		return err
	}
	s, err := ReadState(dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		path := filepath.Join(dir, filepath.Base(name))
		now, err := fileOf(path)
		if err != nil {
			return fault.New(fault.NotFound, "checkpoint: %w", err)
		}
		if now != s.Files[name] {
			return fault.New(fault.Corrupt, "checkpoint: the file is not what was written: its digest differs").WithFile(path, 0, 0)
		}
	}
	return nil
}

func fileOf(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{n, fmt.Sprintf("%x", h.Sum(nil))}, err
}

// folderName pads the step with zeros, so that names sort by step.
func folderName(step int) string { return fmt.Sprintf("%s%08d", checkpointPrefix, step) }

type partFile struct {
	name string
	part clip.Trainable
}

func (t *Trainer) files() []partFile { return t.parts.files() }

func (p Parts) files() []partFile {
	list := []partFile{{ImageFile, p.Image}, {TextFile, p.Text}}
	losses := p.LossFiles()
	for i, m := range objective.Members(p.Loss) {
		list = append(list, partFile{losses[i], m.Loss})
	}
	return list
}

// LossFiles lists the files of the losses in a checkpoint of these parts, in the order of objective.Members.
func (p Parts) LossFiles() []string { return State{Losses: p.losses()}.LossFiles() }

// losses names the members of a sum of losses; none of a loss alone.
func (p Parts) losses() (names []string) {
	if _, isSum := p.Loss.(*objective.Sum); isSum {
		for _, m := range objective.Members(p.Loss) {
			names = append(names, m.Name)
		}
	}
	return names
}

// checkpoint writes the state after the newest step, unless there is one already: into a temporary
// folder, synced, renamed, then recorded after all metrics up to it are durable.
func (t *Trainer) checkpoint(ctx context.Context) error {
	if !t.ranks.many() {
		return t.checkpointAlone(ctx)
	}
	return t.checkpointTogether(ctx)
}

func (t *Trainer) checkpointAlone(ctx context.Context) error {
	if t.cfg.Dir == "" || !t.dirty {
		return nil
	}
	if t.hooks.Counted != nil {
		if err := t.hooks.Counted(t.state.Counts); err != nil {
			return err
		}
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
	t.kept = append(t.kept, t.state.Step)
	if t.hooks.Checkpointed != nil {
		t.hooks.Checkpointed(t.state.Step, dir)
	}
	if ctx.Err() == nil { // else the hook could not keep the new one, and older ones are gone on from
		t.prune()
	}
	return nil
}

func (t *Trainer) write(ctx context.Context, dir string) error {
	s := t.state
	s.BatchSize, s.Samples, s.Seed, s.Run, s.Teacher = t.cfg.BatchSize, t.plan.Len(), t.cfg.Seed, t.cfg.Run, t.cfg.Teacher
	return writeCheckpoint(ctx, dir, t.parts, s)
}

// CheckpointIn returns the folder of a step's checkpoint below the folder dir.
func CheckpointIn(dir string, step int) string { return filepath.Join(dir, folderName(step)) }

// WriteCheckpoint writes towers and loss as a checkpoint below the folder dir, whole and durable or not at all,
// and returns its path. It does not use the data of parts.
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
	s.Files, s.Losses = map[string]File{}, parts.losses()
	for _, f := range parts.files() {
		path := filepath.Join(tmp, f.name)
		if err := f.part.Save(ctx, path); err != nil {
			return err
		}
		if err := syncPath(path); err != nil {
			return err
		}
		if s.Files[f.name], err = fileOf(path); err != nil {
			return err
		}
	}
	s.Digest = s.digest()
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

// prune removes all but the newest of the recorded checkpoints, by step; nothing else in the folder is the
// trainer's. One that cannot be removed now is tried again after the next checkpoint.
func (t *Trainer) prune() {
	if t.cfg.KeepCheckpoints <= 0 {
		return
	}
	old := t.kept[:max(0, len(t.kept)-t.cfg.KeepCheckpoints)]
	var stay []int
	for _, step := range old {
		dir := filepath.Join(t.cfg.Dir, folderName(step))
		if err := os.RemoveAll(dir); err != nil {
			stay = append(stay, step)
			continue
		}
		if t.hooks.Pruned != nil {
			t.hooks.Pruned(step)
		}
	}
	t.kept = append(stay, t.kept[len(old):]...)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// diskFault adds what to do about a full disk.
func diskFault(err error) error {
	const remedy = "free some space or point --runs-dir at another disk, then run again with --resume"
	var told *fault.Error // of a plugin, which wrote its part
	switch {
	case errors.As(err, &told):
		if told.Kind == fault.Exhausted && told.Hint == "" {
			told.Hint = remedy
		}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "%w", err).WithHint(remedy)
	}
	return err
}
