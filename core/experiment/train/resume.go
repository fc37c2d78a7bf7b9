package train

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
)

// Resume loads a checkpoint folder, which Verify has checked; Run then continues after its step. A checkpoint
// of another data order (batch size, length or seed) yields fault.Invalid. known lists the steps of the run's
// other checkpoints, which the trainer may remove once it has newer ones.
//
// All ranks resume from the same checkpoint. Their number may be another than before: then sums have another order,
// and their last bits may differ from those of a run that was not interrupted.
func (t *Trainer) Resume(ctx context.Context, dir string, known ...int) error {
	s, err := ReadState(dir)
	if err != nil {
		return err
	}
	if s.BatchSize != t.cfg.BatchSize || s.Samples != t.plan.Len() || s.Seed != t.cfg.Seed {
		return fault.New(fault.Invalid, "checkpoint has batch_size %d, %d samples, seed %d; the run has %d, %d, %d",
			s.BatchSize, s.Samples, s.Seed, t.cfg.BatchSize, t.plan.Len(), t.cfg.Seed).WithFile(dir, 0, 0)
	}
	if s.Teacher != t.cfg.Teacher {
		return fault.New(fault.Conflict, "the weights of the teacher are not those that the checkpoint was trained with").
			WithPath("teacher.init.weights").WithFile(dir, 0, 0).WithHint("put them back as they were, or begin a new run")
	}
	if own := t.parts.losses(); !slices.Equal(s.Losses, own) {
		return fault.New(fault.Invalid, "checkpoint has the losses %q, the run %q", s.Losses, own).WithFile(dir, 0, 0)
	}
	for _, f := range t.files() {
		if err := f.part.Load(ctx, filepath.Join(dir, f.name)); err != nil {
			return withOp(err, "resume")
		}
	}
	t.state, t.ckptDir = s, dir
	t.kept = slices.Compact(slices.Sorted(slices.Values(append(known, s.Step))))
	if t.ranks.rank > 0 {
		return nil
	}
	return t.removeHalf()
}

// removeHalf removes the checkpoints that a killed run was writing. Complete ones that it did not record stay;
// the run writes over them when it comes to their steps.
func (t *Trainer) removeHalf() error {
	half, err := filepath.Glob(filepath.Join(globQuote(t.cfg.Dir), checkpointPrefix+"*.tmp"))
	if err != nil {
		return err
	}
	for _, dir := range half {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// globQuote quotes a folder's name so that Glob takes it as it is.
func globQuote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
