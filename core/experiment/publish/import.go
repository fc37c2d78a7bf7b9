package publish

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
)

// Import records published weights (or a checkpoint folder's) as a run of s that is done at step 0, so that every
// command works on them, and returns the run's id. Nothing is trained and no data is opened. w is told of what the
// weights remark.
func Import(ctx context.Context, l lab.Lab, s *spec.Spec, file string, w assemble.Watcher) (id string, err error) {
	used, err := l.Plugins(s)
	if err != nil {
		return "", err
	}
	sha, err := assemble.WeightsDigest(file)
	if err != nil {
		return "", err
	}
	l.NoteUnguarded(s)
	m, err := assemble.OpenTowers(ctx, l.Catalog, s)
	if err != nil {
		return "", err
	}
	defer m.Close()
	if m.Remarks, err = m.LoadWeights(ctx, file); err != nil {
		return "", err
	}
	db, err := l.Database()
	if err != nil {
		return "", err
	}
	defer db.Close()
	digests := used.Digests()
	digests["init"] = sha
	run, err := db.Begin(ctx, assemble.Meta(s, used, s.Identity(digests), 0))
	if err != nil {
		return "", err
	}
	status := clip.StatusFailed
	err = record(ctx, l, m, &assemble.Recorder{Run: run, Watcher: w}, fmt.Sprintf("imported %s, sha256 %s", file, sha))
	if err == nil {
		status = clip.StatusDone
	}
	return run.ID(), errors.Join(err, run.Finish(context.WithoutCancel(ctx), status, err))
}

// record writes and records the checkpoint of an imported model.
func record(ctx context.Context, l lab.Lab, m *assemble.Model, rec *assemble.Recorder, what string) error {
	if err := rec.Run.Event("info", "imported", what, ""); err != nil {
		return err
	}
	for _, r := range m.Remarks {
		if err := rec.Event("warning", "weights", r, ""); err != nil {
			return err
		}
	}
	dir, err := l.MakeDir(rec.ID(), m.Spec)
	if err != nil {
		return err
	}
	path, err := train.WriteCheckpoint(ctx, filepath.Join(dir, lab.CheckpointsDir), m.Parts,
		train.State{BatchSize: m.Spec.Train.BatchSize, Seed: m.Spec.Seed, Run: rec.ID()})
	if err != nil {
		return err
	}
	if err := m.Summary.Record(rec.Run); err != nil {
		return err
	}
	return rec.Checkpoint(0, path)
}
