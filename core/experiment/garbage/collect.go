package garbage

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
	"tandem/core/results/store"
)

// Collected tells what a collection did.
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
func Collect(ctx context.Context, l lab.Lab, garbage []Item) (*Collected, error) {
	db, err := l.Database()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	c := &Collected{Kept: []string{}, FileBefore: databaseSize(l.DB)}
	for _, g := range garbage {
		err := discard(ctx, l, db, g)
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
	if err := compact(ctx, l, db, c); err != nil {
		return nil, err
	}
	c.FileAfter = databaseSize(l.DB)
	return c, nil
}

// discard deletes one thing in steps that the next collection completes when this one is ended between them.
func discard(ctx context.Context, l lab.Lab, db *store.DB, g Item) error {
	switch g.Kind {
	case Examples:
		return db.DeleteUnusedExamples(ctx)
	case Run:
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
	case Checkpoint:
		if err := db.DropCheckpoints(ctx, g.RunID, g.steps); err != nil {
			return err
		}
	case Folder:
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
	return remove(l.RunsDir, g.Path)
}

// remove deletes a folder in RunsDir, however it is reached: os.Root follows no link out of it. The folder first gets a
// name that says that it is going, since what is half deleted looks like nothing.
func remove(runsDir, path string) error {
	runs, err := filepath.Abs(runsDir)
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	below, err := filepath.Rel(runs, path)
	if err != nil || !filepath.IsLocal(below) || below == "." {
		return fault.New(fault.Invalid, "%s is not in --runs-dir %s", path, runsDir)
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
func compact(ctx context.Context, l lab.Lab, db *store.DB, c *Collected) error {
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

// databaseSize returns the bytes of the database's file and its log.
func databaseSize(file string) (n int64) {
	for _, path := range []string{file, file + "-wal"} {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}
