package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/store"
)

// checkpointsDir is the folder of a run's checkpoints, in the run's folder.
const checkpointsDir = "checkpoints"

// found is the checkpoint that a run goes on from.
type found struct {
	step    int    // -1: there is none, and there never was
	dir     string // where it lies now; "" for none
	moved   bool   // it was recorded as lying elsewhere
	known   []int  // the steps of all that are recorded
	skipped []string
}

// find gives the newest of a run's recorded checkpoints that check finds whole. Folders are looked for where the runs are
// now first, and where they were recorded after that: results are moved and copied. Newer ones that are damaged or gone
// are in skipped. When there are records, but nothing whole, that is a fault: to start over would erase what was
// recorded. fault.Corrupt or fault.NotFound.
func (l Lab) find(id string, recorded []store.Checkpoint, check func(dir, run string, step int) error) (found, error) {
	f := found{step: -1}
	var faults []error
	for _, c := range recorded {
		f.known = append(f.known, c.Step)
	}
	for _, c := range recorded { // newest first
		dir, err := l.locate(id, c, check)
		if err == nil {
			f.step, f.dir, f.moved = c.Step, dir, dir != c.Dir
			return f, nil
		}
		faults = append(faults, err)
		f.skipped = append(f.skipped, fmt.Sprintf("the checkpoint of step %d is passed over: %v", c.Step, err))
	}
	if len(recorded) == 0 {
		return f, nil
	}
	kind := fault.NotFound
	for _, err := range faults {
		if fault.KindOf(err) == fault.Corrupt {
			kind = fault.Corrupt
		}
	}
	return f, fault.New(kind, "run %s: none of its %d checkpoints can be gone on from: %w", id, len(recorded), errors.Join(faults...)).
		WithHint("nothing was changed; when results were moved, --runs-dir names the folder that holds %s", id)
}

// locate is where a checkpoint lies and is whole. The error is the most telling one.
func (l Lab) locate(id string, c store.Checkpoint, check func(dir, run string, step int) error) (string, error) {
	name := filepath.Base(c.Dir)
	var places []string
	for _, runs := range []string{l.RunsDir, filepath.Join(filepath.Dir(l.DB), "runs")} {
		if store.IsID(id) {
			places = append(places, filepath.Join(runs, id, checkpointsDir, name))
		}
	}
	var told error
	for _, dir := range append(places, c.Dir) {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		err := check(dir, id, c.Step)
		if err == nil {
			return dir, nil
		}
		if told == nil || fault.KindOf(told) == fault.NotFound && fault.KindOf(err) != fault.NotFound {
			told = err
		}
	}
	return "", told
}

// checkpointFolders are the checkpoints in a run's folder, oldest first, and those that were being written. Runs of long
// ago have them in the folder itself. A link is no folder of the run's.
func checkpointFolders(dir string) (whole, half []string) {
	for _, in := range []string{dir, filepath.Join(dir, checkpointsDir)} {
		if !isDir(in) {
			continue
		}
		entries, err := os.ReadDir(in)
		if err != nil {
			continue
		}
		for _, e := range entries {
			switch path := filepath.Join(in, e.Name()); {
			case !e.IsDir() || !strings.HasPrefix(e.Name(), "step-"):
			case strings.HasSuffix(path, ".tmp"):
				half = append(half, path)
			default:
				whole = append(whole, path)
			}
		}
	}
	slices.SortFunc(whole, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return whole, half
}
