package run

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// GCOptions say what beside the leftovers is no longer needed.
type GCOptions struct {
	Experiment      string        // limits the runs, not the leftovers; "": all
	FailedOlderThan time.Duration // runs that failed longer ago; 0: none
	Superseded      bool          // runs whose identity has a newer run in the same experiment, which is done
}

// What garbage is.
const (
	GarbageRun        = "run"        // a run's record and its folder
	GarbageFolder     = "folder"     // a run's folder that no database knows
	GarbageCheckpoint = "checkpoint" // of a run that is done and has a later one, or half written
	GarbageExamples   = "examples"   // keys and labels of evaluations that no run has any more
)

// Garbage is one thing that nothing needs.
type Garbage struct {
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

// folderAge is how long the folder of a run that no database knows has to be left alone before it
// counts as garbage: its database may be one that is not looked at.
const folderAge = time.Hour

// Garbage lists what nothing needs, runs first: the runs that o chooses, folders in RunsDir that look like a run's
// and that no database beside this one or beside RunsDir knows, of done runs all checkpoints but the last, and unused
// example sets. A run in progress has no garbage, and what an init.weights of some run names is none.
func (l Lab) Garbage(ctx context.Context, o GCOptions) ([]Garbage, error) {
	entries, err := os.ReadDir(l.RunsDir) // before the database, which knows a run before its folder is there
	if err != nil && !os.IsNotExist(err) {
		return nil, fault.New(fault.Unavailable, "the runs' folder: %w", err).WithHint("--runs-dir names it")
	}
	if err := l.markDead(ctx); err != nil {
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
	weights, err := r.Settings(ctx, "init.weights")
	if err != nil {
		return nil, err
	}
	all, going, err := l.unneededRuns(ctx, r, o, weights)
	if err != nil {
		return nil, err
	}
	elsewhere, err := l.otherRuns(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id := e.Name()
		if gone, ok := strings.CutPrefix(id, goingPrefix); ok && e.IsDir() && store.IsID(gone) {
			dir := filepath.Join(l.RunsDir, id)
			all = append(all, Garbage{Kind: GarbageFolder, RunID: gone, Path: dir, Bytes: folderSize(dir), Why: "left by a gc that was ended"})
			continue
		}
		if !e.IsDir() || !store.IsID(id) || going[id] {
			continue
		}
		switch status, known := states[id]; {
		case known && (status == clip.StatusDone || status == clip.StatusStopped):
			some, err := l.oldCheckpoints(ctx, r, id, weights)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		case !known && !elsewhere[id]:
			dir, why := l.Dir(id), "of no run in the database"
			switch begun := exists(filepath.Join(dir, goingFile)); {
			case begun:
				why = "left by a gc that was ended"
			case !looksLikeRun(dir) || time.Since(lastChange(dir)) <= folderAge:
				continue
			}
			all = append(all, Garbage{Kind: GarbageFolder, RunID: id, Path: dir, Bytes: folderSize(dir), Why: why})
		}
	}
	n, bytes, err := r.UnusedExamples(ctx)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		all = append(all, Garbage{Kind: GarbageExamples, Bytes: bytes, Why: "of no evaluation in the database"})
	}
	return all, nil
}

func (l Lab) markDead(ctx context.Context) error {
	if _, err := os.Stat(l.DB); err != nil {
		return nil // OpenReader says so
	}
	db, err := l.database()
	if err != nil {
		return err
	}
	_, err = db.MarkDead(ctx)
	return errors.Join(err, db.Close())
}

func (l Lab) unneededRuns(ctx context.Context, r *store.Reader, o GCOptions, weights []string) (all []Garbage, ids map[string]bool, err error) {
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
		g := Garbage{Kind: GarbageRun, RunID: u.ID, Experiment: u.Experiment, Why: "failed"}
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

// otherRuns are the runs of the other databases in the folders of DB and of RunsDir: they may share RunsDir.
func (l Lab) otherRuns(ctx context.Context) (map[string]bool, error) {
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

// oldCheckpoints are the checkpoints in the folder of a done run that its last one makes unneeded, and half-written
// ones.
func (l Lab) oldCheckpoints(ctx context.Context, r *store.Reader, id string, weights []string) ([]Garbage, error) {
	dir := l.Dir(id)
	whole, half := checkpointFolders(dir)
	if len(whole)+len(half) == 0 {
		return nil, nil
	}
	recorded, err := r.Checkpoints(ctx, id)
	if err != nil {
		return nil, err
	}
	// Without a whole one that is recorded everything stays: what is there may be all that is left of the run.
	last, err := l.find(id, recorded, train.Check)
	if err != nil || last.dir == "" {
		whole = nil
	}
	var all []Garbage
	for _, path := range slices.Concat(whole, half) {
		if same(path, last.dir) || isUsed(weights, id, path) {
			continue
		}
		g := Garbage{Kind: GarbageCheckpoint, RunID: id, Path: path, Bytes: folderSize(path), Why: "the run is done and has a later one"}
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

// Collected is what a collection did.
type Collected struct {
	Deleted     int      `json:"deleted"`
	FolderBytes int64    `json:"folder_bytes"`
	FileBefore  int64    `json:"database_bytes_before"`
	FileAfter   int64    `json:"database_bytes_after"`
	Kept        []string `json:"kept"` // what was not deleted, and why
}

// Collect deletes garbage, and writes the database anew without the space that holds nothing unless a run is
// in progress. What has come to be needed since it was listed stays, and Kept says so: a run that was resumed,
// a folder that a database knows by now.
func (l Lab) Collect(ctx context.Context, garbage []Garbage) (*Collected, error) {
	db, err := l.database()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	c := &Collected{Kept: []string{}, FileBefore: l.databaseSize()}
	for _, g := range garbage {
		err := l.discard(ctx, db, g)
		switch fault.KindOf(err) {
		case fault.Canceled:
			return nil, err
		case fault.NotFound: // another gc was there first
		case "":
			c.Deleted++
			if g.Path != "" {
				c.FolderBytes += g.Bytes
			}
		default:
			c.Kept = append(c.Kept, cmp.Or(g.Path, g.RunID, g.Kind)+": "+err.Error())
		}
	}
	if err := db.DeleteUnusedExamples(ctx); err != nil { // the runs that went may have been the last to need some
		return nil, err
	}
	if err := l.compact(ctx, db, c); err != nil {
		return nil, err
	}
	c.FileAfter = l.databaseSize()
	return c, nil
}

// discard deletes one thing in steps that the next collection completes when this one is ended between them.
func (l Lab) discard(ctx context.Context, db *store.DB, g Garbage) error {
	switch g.Kind {
	case GarbageExamples:
		return db.DeleteUnusedExamples(ctx)
	case GarbageRun:
		if g.Path != "" {
			if err := os.WriteFile(filepath.Join(g.Path, goingFile), nil, 0o644); err != nil {
				return fault.New(fault.Unavailable, "%w", err)
			}
		}
		if err := db.DeleteRun(ctx, g.RunID); err != nil {
			if g.Path != "" && fault.KindOf(err) != fault.NotFound {
				_ = os.Remove(filepath.Join(g.Path, goingFile))
			}
			return err
		}
	case GarbageCheckpoint:
		if err := db.DropCheckpoints(ctx, g.RunID, g.steps); err != nil {
			return err
		}
	case GarbageFolder:
		if strings.HasPrefix(filepath.Base(g.Path), goingPrefix) {
			break
		}
		states, err := db.RunStates(ctx)
		if err != nil {
			return err
		}
		if _, known := states[g.RunID]; known {
			return fault.New(fault.Conflict, "the database knows this run by now")
		}
	}
	if g.Path == "" {
		return nil
	}
	return l.remove(g.Path)
}

// remove deletes a folder in RunsDir, however it is reached: os.Root follows no link out of it. The folder first gets a
// name that says that it is going, since what is half deleted looks like nothing.
func (l Lab) remove(path string) error {
	runs, err := filepath.Abs(l.RunsDir)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	below, err := filepath.Rel(runs, path)
	if err != nil || !filepath.IsLocal(below) || below == "." {
		return fault.New(fault.Invalid, "%s is not in --runs-dir %s", path, l.RunsDir)
	}
	root, err := os.OpenRoot(runs)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	defer root.Close()
	going := below + ".tmp" // as a checkpoint that is half written
	if name := filepath.Base(below); name == below {
		going = goingPrefix + name
	}
	if !strings.HasSuffix(below, ".tmp") && !strings.HasPrefix(below, goingPrefix) {
		if err := root.Rename(below, going); errors.Is(err, fs.ErrNotExist) {
			return nil // another gc was there first
		} else if err == nil {
			below = going
		} // a name that is taken is being removed: this one goes as it is
	}
	if err := root.RemoveAll(below); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}

// compact gives back the space in the database that holds nothing: bit by bit where the database can, else by writing it
// anew when no run is in progress, whose steps would wait.
func (l Lab) compact(ctx context.Context, db *store.DB, c *Collected) error {
	free, err := db.FreeBytes(ctx)
	if err != nil {
		return err
	}
	if free == 0 {
		return store.MoveLog(l.DB)
	}
	if able, err := store.Shrink(ctx, l.DB); able || err != nil {
		return err
	}
	states, err := db.RunStates(ctx)
	if err != nil {
		return err
	}
	for id, status := range states {
		if status == clip.StatusRunning {
			c.Kept = append(c.Kept, "unused space in the database: run "+id+" is in progress")
			return store.MoveLog(l.DB)
		}
	}
	err = store.Compact(ctx, l.DB)
	if fault.KindOf(err) == fault.Conflict {
		c.Kept = append(c.Kept, "unused space in the database: "+err.Error())
		return nil
	}
	return err
}

// databaseSize is the size of the database's file and its log.
func (l Lab) databaseSize() (n int64) {
	for _, path := range []string{l.DB, l.DB + "-wal"} {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}
