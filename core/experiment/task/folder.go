package task

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/experiment/lab"
	"tandem/core/experiment/ledger"
)

// Endings of what an attempt has in the folder of its trial, beside the ledger's files. Nobody else writes there, so that an owner that was
// only suspended spoils nothing of the one that took its trial over.
const (
	runsEnding     = ".runs" // a folder for each run: checkpoints, logs
	databaseEnding = ".db"   // the snapshot of the trial's database, whose checkpoints are in the former
)

// DatabaseOf returns the snapshot of a trial's database that an attempt, counted from 0, has left; "" when there is none.
func DatabaseOf(l ledger.Ledger, s ledger.State, attempt int) string {
	path := l.FilePath(s.Trial, s.Attempts[attempt].N, databaseEnding)
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path
	}
	return ""
}

// runsBeside returns the folder of the runs that a snapshot tells of.
func runsBeside(database string) string {
	return strings.TrimSuffix(database, databaseEnding) + runsEnding
}

// parametersDirs names the folders of a run whose files are written once and never changed.
var parametersDirs = []string{lab.CheckpointsDir, lab.EvaluationsDir}

// inherit gives an attempt what another one wrote that is to be gone on from: links to its files, or copies where there can be none. What goes
// away meanwhile is passed over: whoever reads a checkpoint checks that it is whole.
func inherit(from, to string) error {
	for _, kind := range parametersDirs {
		found, err := filepath.Glob(filepath.Join(quote(from), "*", kind, "step-*", "*"))
		if err != nil {
			return err
		}
		for _, path := range found {
			name, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			if strings.HasSuffix(filepath.Dir(path), ".tmp") {
				continue
			}
			own := filepath.Join(to, name)
			if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
				return err
			}
			if err := os.Link(path, own); err != nil {
				err = copyFile(path, own)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// quote quotes a folder's name so that Glob takes it as it is.
func quote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// clear removes what nobody goes on from any more: the snapshot of an attempt and the checkpoints that it tells of. Logs stay.
func clear(l ledger.Ledger, trial string, n int) {
	database := l.FilePath(trial, n, databaseEnding)
	_ = os.Remove(database)
	for _, kind := range parametersDirs {
		found, _ := filepath.Glob(filepath.Join(quote(runsBeside(database)), "*", kind))
		for _, dir := range found {
			_ = os.RemoveAll(dir)
		}
	}
}
