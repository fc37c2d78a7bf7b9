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
	sharedRuns     = "runs"  // the whole name of the folder that attempts of an older runner have together
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

// runsBeside returns the folder of the runs that a snapshot tells of: that of its attempt, or of an older runner's attempts.
func runsBeside(database string) string {
	own, shared := strings.TrimSuffix(database, databaseEnding)+runsEnding, filepath.Join(filepath.Dir(database), sharedRuns)
	if !isFolder(own) && isFolder(shared) {
		return shared
	}
	return own
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
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
			if strings.HasSuffix(filepath.Dir(path), ".tmp") || strings.HasSuffix(path, copyEnding) {
				continue
			}
			own := filepath.Join(to, name)
			if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
				return err
			}
			if err := linkOrCopy(path, own); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// copyEnding ends the name of a copy that is not whole.
const copyEnding = ".copy"

// linkOrCopy gives a file a second name, or a copy under it where there can be no link. The answer of a file server can get lost, and the repeated
// question finds the link there. What else has the name is replaced, never written into: it may be a link to what others read.
func linkOrCopy(path, own string) error {
	if err := os.Link(path, own); err == nil || isSame(path, own) {
		return nil
	}
	temp := own + copyEnding
	_ = os.Remove(temp) // of a process that was killed
	err := copyFile(path, temp)
	if err == nil {
		err = os.Rename(temp, own)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// isSame reports whether two names are those of one file.
func isSame(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// quote quotes a folder's name so that Glob takes it as it is.
func quote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// clear removes what nobody goes on from any more: the snapshot of an attempt and the checkpoints that it tells of. Logs stay.
func clear(l ledger.Ledger, trial string, n int) {
	_ = os.Remove(l.FilePath(trial, n, databaseEnding))
	removeParameters(l.FilePath(trial, n, runsEnding))
}

// removeParameters removes the checkpoints of all runs in a folder, and what waits there to be evaluated.
func removeParameters(runs string) {
	for _, kind := range parametersDirs {
		found, _ := filepath.Glob(filepath.Join(quote(runs), "*", kind))
		for _, dir := range found {
			_ = os.RemoveAll(dir)
		}
	}
}
