// Package lab knows where results lie: the database, the folder of runs and what is in the folder of one.
//
// A run's folder holds spec.yaml, logs/ and checkpoints/step-N/. The package writes and reads the spec, finds
// the newest checkpoint that is whole, also after results were moved, and finds the run that a user means. It
// starts no plugin.
package lab

import (
	"context"
	"os"
	"path/filepath"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/collective"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/train"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/catalog"
	"tandem/core/results/store"
)

// Lab says where runs are made: the database, the folder of their files and the plugins.
type Lab struct {
	DB      string // the database file
	RunsDir string // a folder per run: checkpoints, logs
	// TrackersDir is where trackers that keep files have their folders; "": beside RunsDir.
	TrackersDir string
	// Save makes durable what the database has, where the database itself is not; nil: it is. Any goroutine may call it.
	Save    func(context.Context) error
	Catalog *catalog.Catalog
	Note    func(message string) // is told what is waited for; nil: nobody is
	Ranks
}

// TrackerDir returns the folder of a tracker that keeps files.
func (l Lab) TrackerDir(tracker string) string {
	if l.TrackersDir != "" {
		return filepath.Join(l.TrackersDir, tracker)
	}
	return filepath.Join(filepath.Dir(filepath.Clean(l.RunsDir)), tracker)
}

// Ranks says with whom runs are made. The zero value is this process alone.
type Ranks struct {
	Group  collective.Group   // nil: this process alone
	Places []collective.Place // where each runs
	Cores  int                // that each computes with unless its spec says; 0: all
}

// Gather finds out where the ranks of a group run. Every rank calls it.
func Gather(ctx context.Context, g collective.Group) (Ranks, error) {
	if g.Size() == 1 {
		return Ranks{}, nil
	}
	places, err := collective.Places(ctx, g)
	return Ranks{g, places, collective.Cores(places)}, err
}

// Several reports whether there are others.
func (r Ranks) Several() bool { return r.Group != nil }

// Lost is closed when another rank is gone; it is nil where there is none.
func (r Ranks) Lost() <-chan struct{} {
	if r.Group == nil {
		return nil
	}
	return r.Group.Lost()
}

// What lies in a run's folder.
const (
	SpecFile       = "spec.yaml"
	LogsDir        = "logs"
	CheckpointsDir = "checkpoints"
	EvaluationsDir = "evaluations"        // parameters that wait to be evaluated (train.eval_device)
	HandoverDir    = assemble.HandoverDir // while plugins run in the sandbox, or after their runner was killed

	specLimit = 16 << 20 // bytes of a spec
)

// Database opens the results database for writing; Note is told when others have to be waited for.
func (l Lab) Database() (*store.DB, error) { return store.Open(l.DB, store.OnWait(l.Note)) }

// MarkDead records as failed the runs whose runner is gone. A database that does not exist is left so.
func (l Lab) MarkDead(ctx context.Context) error {
	if _, err := os.Stat(l.DB); err != nil {
		return nil
	}
	db, err := l.Database()
	if err != nil {
		return err
	}
	_, err = db.MarkDead(ctx)
	if closed := db.Close(); err == nil {
		err = closed
	}
	return err
}

// Load reads and checks a spec with everything this machine can say about it. set overrides keys: "train.lr=1e-3".
func (l Lab) Load(file string, set []string) (*spec.Spec, error) {
	return spec.Load(file, spec.Options{Set: set, Env: os.Environ(), Catalog: assemble.NewCatalog(l.Catalog)})
}

// NoteUnguarded tells Note what the sandbox that a spec asks for cannot do on this machine.
func (l Lab) NoteUnguarded(s *spec.Spec) {
	if l.Note == nil {
		return
	}
	for _, remark := range assemble.Unguarded(s) {
		l.Note("warning: " + remark)
	}
}

// Plugins finds the plugins of a spec as they are now.
func (l Lab) Plugins(s *spec.Spec) (assemble.Plugins, error) {
	return assemble.NewCatalog(l.Catalog).Plugins(s)
}

// Dir returns the absolute folder of a run's files, in RunsDir. It is "" for what is no id of a run, such as
// ../precious.
func (l Lab) Dir(id string) string {
	if !store.IsID(id) {
		return ""
	}
	dir, err := filepath.Abs(filepath.Join(l.RunsDir, id))
	if err != nil {
		return filepath.Join(l.RunsDir, id)
	}
	return dir
}

// MakeDir makes the folder of a run, with its spec, and returns it.
func (l Lab) MakeDir(id string, s *spec.Spec) (string, error) {
	dir := l.Dir(id)
	if dir == "" {
		return "", fault.New(fault.Invalid, "run %q: this is no id of a run", id)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fault.New(fault.Unavailable, "the run's folder: %w", err).WithHint("--runs-dir names another place")
	}
	if err := os.WriteFile(filepath.Join(dir, SpecFile), []byte(s.YAML(true)), 0o644); err != nil {
		return "", fault.New(fault.Exhausted, "the run's folder: %w", err).WithHint("--runs-dir names another place")
	}
	return dir, nil
}

// RecordedSpec returns the spec that a run was recorded with, as the database has it.
func (l Lab) RecordedSpec(run *store.RunDetail) (*spec.Spec, error) {
	return l.Parse(filepath.Join(l.Dir(run.ID), SpecFile), []byte(run.Spec))
}

// OwnSpec returns the spec of a run as it lies in the run's folder: what that names is one's own, while a
// database may come from anywhere. fault.Unavailable when the run was not made here.
func (l Lab) OwnSpec(run *store.RunDetail) (*spec.Spec, error) {
	path := filepath.Join(l.Dir(run.ID), SpecFile)
	text, err := files.Read(path, specLimit)
	if l.Dir(run.ID) == "" || err != nil {
		return nil, fault.New(fault.Unavailable, "run %s was not made here: its spec is not in --runs-dir %s", run.ID, l.RunsDir).
			WithHint("--thumbnails takes pictures from the datasets that the database names")
	}
	return l.Parse(path, text)
}

// Parse reads a spec as a run was recorded with it.
func (l Lab) Parse(name string, text []byte) (*spec.Spec, error) {
	return spec.Parse(name, text, spec.Options{Catalog: assemble.NewCatalog(l.Catalog), Begun: true})
}

// Trained finds the run that ref names (an id, a prefix or latest) and its newest whole checkpoint, which is
// always there: fault.NotFound when the run has none. Note is told of checkpoints that are passed over.
func (l Lab) Trained(ctx context.Context, ref string) (*store.RunDetail, Checkpoint, error) {
	var none Checkpoint
	r, err := store.OpenReader(l.DB)
	if err != nil {
		return nil, none, err
	}
	defer r.Close()
	id, err := r.FindRun(ctx, ref)
	if err != nil {
		return nil, none, err
	}
	detail, err := r.Get(ctx, id)
	if err != nil {
		return nil, none, err
	}
	found, err := l.FindCheckpoint(id, detail.Checkpoints, train.Verify)
	if err != nil {
		return nil, none, err
	}
	for _, message := range found.Skipped {
		if l.Note != nil {
			l.Note(message)
		}
	}
	if found.Dir == "" {
		return nil, none, fault.New(fault.NotFound, "run %s has no checkpoint", id).
			WithHint("a run writes one at its end, on Ctrl-C and every train.checkpoint_every steps")
	}
	return detail, found, nil
}
