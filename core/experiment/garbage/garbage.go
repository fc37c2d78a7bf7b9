// Package garbage lists what no run needs any more, and deletes it.
//
// Whatever a database says, nothing outside the folder of runs is deleted, and a deletion that was ended at any
// point is completed by the next.
package garbage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// Options chooses what is garbage beside the leftovers.
type Options struct {
	Experiment      string        // limits the runs, not the leftovers; "": all
	FailedOlderThan time.Duration // runs that failed longer ago; 0: none
	Superseded      bool          // runs whose identity has a newer run in the same experiment, which is done
}

// The kinds of garbage.
const (
	Run        = "run"        // a run's record and its folder
	Folder     = "folder"     // a run's folder that no database knows
	Checkpoint = "checkpoint" // of a run that is done and has a later one, or half written
	Examples   = "examples"   // keys and labels of evaluations that no run has any more
)

// Item describes one thing that nothing needs.
type Item struct {
	Kind       string `json:"kind"`
	RunID      string `json:"run_id,omitempty"`
	Experiment string `json:"experiment,omitempty"`
	Path       string `json:"path,omitempty"` // a folder that goes; "": none does
	Bytes      int64  `json:"bytes"`          // of Path; for examples, in the database
	Why        string `json:"why"`

	steps []int // of a recorded checkpoint
}

const (
	// goingFile marks the folder of a run whose record is being deleted, and goingPrefix is before the name of one
	// that is: whoever comes next completes it.
	goingFile   = ".gc"
	goingPrefix = ".gc-"
)

// folderAge must pass since the last change of a folder that no database knows before it counts as garbage: its
// database may be one that is not looked at.
const folderAge = time.Hour

// Find lists what nothing needs:
//
//   - the runs that o chooses,
//   - folders in RunsDir that look like a run's and that no database beside this one or beside RunsDir knows,
//   - all checkpoints but the last of runs that are done, and half-written ones,
//   - unused example sets.
//
// A run in progress has no garbage, and nothing that some run names as weights of its
// model or its teacher is garbage.
func Find(ctx context.Context, l lab.Lab, o Options) ([]Item, error) {
	entries, err := os.ReadDir(l.RunsDir) // before the database, which knows a run before its folder is there
	if err != nil && !os.IsNotExist(err) {
		return nil, fault.New(fault.Unavailable, "the runs' folder: %w", err).WithHint("--runs-dir names it")
	}
	if err := l.MarkDead(ctx); err != nil {
		return nil, err
	}
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	states, err := r.RunStates(ctx)
	if err != nil {
		return nil, err
	}
	var weights []string
	for _, key := range []string{"init.weights", "teacher.init.weights"} {
		named, err := r.Settings(ctx, key)
		if err != nil {
			return nil, err
		}
		weights = append(weights, named...)
	}
	all, going, err := unneededRuns(ctx, l, r, o, weights)
	if err != nil {
		return nil, err
	}
	elsewhere, err := otherRuns(ctx, l)
	if err != nil {
		return nil, err
	}
	f := finder{lab: l, reader: r, states: states, elsewhere: elsewhere, weights: weights}
	for _, e := range entries {
		if !e.IsDir() || going[e.Name()] {
			continue
		}
		some, err := f.inFolder(ctx, e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	n, bytes, err := r.UnusedExamples(ctx)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		all = append(all, Item{Kind: Examples, Bytes: bytes, Why: "of no evaluation in the database"})
	}
	return all, nil
}

// finder looks through the folder of runs, with what the databases say of them.
type finder struct {
	lab       lab.Lab
	reader    *store.Reader
	states    map[string]clip.Status // of the runs in the database, by id
	elsewhere map[string]bool        // the runs in other databases
	weights   []string               // what specs name as init.weights or teacher.init.weights
}

// inFolder lists the garbage in, or the garbage that is, the folder of that name in RunsDir.
func (f finder) inFolder(ctx context.Context, name string) ([]Item, error) {
	if gone, ok := strings.CutPrefix(name, goingPrefix); ok && store.IsID(gone) {
		dir := filepath.Join(f.lab.RunsDir, name)
		return []Item{{Kind: Folder, RunID: gone, Path: dir, Bytes: folderSize(dir), Why: "left by a gc that was ended"}}, nil
	}
	status, known := f.states[name]
	switch {
	case !store.IsID(name):
		return nil, nil
	case known && (status == clip.StatusDone || status == clip.StatusStopped):
		return f.oldCheckpoints(ctx, name)
	case known || f.elsewhere[name]:
		return nil, nil
	}
	dir, why := f.lab.Dir(name), "of no run in the database"
	switch begun := exists(filepath.Join(dir, goingFile)); {
	case begun:
		why = "left by a gc that was ended"
	case !looksLikeRun(dir) || time.Since(lastChange(dir)) <= folderAge:
		return nil, nil
	}
	return []Item{{Kind: Folder, RunID: name, Path: dir, Bytes: folderSize(dir), Why: why}}, nil
}

// unneededRuns lists the runs that o chooses, and their ids.
func unneededRuns(ctx context.Context, l lab.Lab, r *store.Reader, o Options, weights []string) (all []Item, ids map[string]bool, err error) {
	rules := store.GCRules{Experiment: o.Experiment, Superseded: o.Superseded}
	if o.FailedOlderThan > 0 {
		rules.FailedBefore = time.Now().Add(-o.FailedOlderThan)
	}
	ids = map[string]bool{}
	if rules.FailedBefore.IsZero() && !rules.Superseded {
		return nil, ids, nil
	}
	runs, err := r.Unneeded(ctx, rules)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range runs {
		g := Item{Kind: Run, RunID: u.ID, Experiment: u.Experiment, Why: "failed"}
		if u.EndedAt != nil {
			g.Why += " on " + (*u.EndedAt)[:10]
		}
		if u.Why == store.WhySuperseded {
			g.Why = "superseded by " + u.Newer
		}
		dir := l.Dir(u.ID)
		if dir != "" && isUsed(weights, u.ID, dir) {
			continue
		}
		if dir != "" && isDir(dir) {
			g.Path, g.Bytes = dir, folderSize(dir)
		}
		ids[u.ID] = true
		all = append(all, g)
	}
	return all, ids, nil
}

// otherRuns returns the ids of runs in other databases beside DB and RunsDir, which may share RunsDir.
func otherRuns(ctx context.Context, l lab.Lab) (map[string]bool, error) {
	known := map[string]bool{}
	own, _ := os.Stat(l.DB)
	for _, dir := range []string{filepath.Dir(l.DB), filepath.Dir(l.RunsDir), l.RunsDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, fault.New(fault.Unavailable, "databases that may share the runs' folder: %w", err)
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if !strings.HasSuffix(file, ".db") {
				continue
			}
			info, err := os.Stat(file)
			if err != nil || info.IsDir() || os.SameFile(info, own) {
				continue
			}
			ids, err := store.RunIDs(ctx, file)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				known[id] = true
			}
		}
	}
	return known, nil
}

// oldCheckpoints lists the checkpoints in the folder of a done run that its last one makes unneeded, and those that
// are half written.
func (f finder) oldCheckpoints(ctx context.Context, id string) ([]Item, error) {
	dir := f.lab.Dir(id)
	whole, half := lab.CheckpointFolders(dir)
	if len(whole)+len(half) == 0 {
		return nil, nil
	}
	recorded, err := f.reader.Checkpoints(ctx, id)
	if err != nil {
		return nil, err
	}
	// Without a whole one that is recorded everything stays: what is there may be all that is left of the run.
	last, err := f.lab.FindCheckpoint(id, recorded, train.Check)
	if err != nil || last.Dir == "" {
		whole = nil
	}
	var all []Item
	for _, path := range slices.Concat(whole, half) {
		if sameFile(path, last.Dir) || isUsed(f.weights, id, path) {
			continue
		}
		g := Item{Kind: Checkpoint, RunID: id, Path: path, Bytes: folderSize(path), Why: "the run is done and has a later one"}
		if slices.Contains(half, path) {
			g.Why = "half written"
		} else {
			for _, c := range recorded {
				if filepath.Base(c.Dir) == filepath.Base(path) {
					g.steps = append(g.steps, c.Step)
				}
			}
		}
		all = append(all, g)
	}
	return all, nil
}
