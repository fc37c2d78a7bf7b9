package lab

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

// Checkpoint tells which checkpoint a run goes on from.
type Checkpoint struct {
	Step    int      // -1: there is none, and there never was
	Dir     string   // where it lies now; "" for none
	Moved   bool     // it was recorded as lying elsewhere
	Known   []int    // the steps of all that are recorded
	Skipped []string // why newer ones are not it, a sentence each
}

// Checker tells what is wrong with the checkpoint of a run's step in a folder: train.Check looks at names and
// sizes, train.Verify reads the files.
type Checker func(dir, run string, step int) error

// FindCheckpoint returns the newest of a run's recorded checkpoints, which come newest first, that check finds
// whole. It looks for folders where the runs are now first, and where they were recorded after that, because
// results are moved and copied. When there are records but nothing whole, that is a fault, fault.Corrupt or
// fault.NotFound: to start over would erase what was recorded.
func (l Lab) FindCheckpoint(id string, recorded []store.Checkpoint, check Checker) (Checkpoint, error) {
	found := Checkpoint{Step: -1}
	var faults []error
	for _, c := range recorded {
		found.Known = append(found.Known, c.Step)
	}
	for _, c := range recorded {
		dir, err := l.locate(id, c, check)
		if err == nil {
			found.Step, found.Dir, found.Moved = c.Step, dir, dir != c.Dir
			return found, nil
		}
		faults = append(faults, err)
		found.Skipped = append(found.Skipped, fmt.Sprintf("the checkpoint of step %d is passed over: %v", c.Step, err))
	}
	if len(recorded) == 0 {
		return found, nil
	}
	kind := fault.NotFound
	for _, err := range faults {
		if fault.KindOf(err) == fault.Corrupt {
			kind = fault.Corrupt
		}
	}
	return found, fault.New(kind, "run %s: none of its %d checkpoints can be gone on from: %w", id, len(recorded), errors.Join(faults...)).
		WithHint("nothing was changed; when results were moved, --runs-dir names the folder that holds %s", id)
}

// Checkpoints returns those of a run's recorded checkpoints that check finds whole, as they come, and why the others are passed over.
func (l Lab) Checkpoints(id string, recorded []store.Checkpoint, check Checker) (whole []Checkpoint, skipped []string) {
	for _, c := range recorded {
		dir, err := l.locate(id, c, check)
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("the checkpoint of step %d is passed over: %v", c.Step, err))
			continue
		}
		whole = append(whole, Checkpoint{Step: c.Step, Dir: dir, Moved: dir != c.Dir})
	}
	return whole, skipped
}

// locate returns the folder in which a checkpoint lies and is whole. Of the errors at the places that it could
// be at, it returns the first that says more than that nothing is there.
func (l Lab) locate(id string, c store.Checkpoint, check Checker) (string, error) {
	name := filepath.Base(c.Dir)
	var places []string
	for _, runs := range []string{l.RunsDir, filepath.Join(filepath.Dir(l.DB), "runs")} {
		if store.IsID(id) {
			places = append(places, filepath.Join(runs, id, CheckpointsDir, name))
		}
	}
	var telling error
	for _, dir := range append(places, c.Dir) {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
		err := check(dir, id, c.Step)
		if err == nil {
			return dir, nil
		}
		if telling == nil || fault.KindOf(telling) == fault.NotFound && fault.KindOf(err) != fault.NotFound {
			telling = err
		}
	}
	return "", telling
}

// CheckpointFolders lists the checkpoints in a run's folder, oldest first, and those that are half written. Runs
// of long ago have them in the folder itself. A link is no folder of the run's.
func CheckpointFolders(dir string) (whole, half []string) {
	for _, in := range []string{dir, filepath.Join(dir, CheckpointsDir)} {
		if info, err := os.Lstat(in); err != nil || !info.IsDir() {
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
