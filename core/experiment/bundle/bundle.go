// Package bundle freezes a sweep in a folder of a shared file system: everything that a task on another machine needs to make its
// trials, and nothing that changes under it afterwards.
//
// Below the folder of all bundles (results/cluster) lie
//
//	NAME-DIGEST/bundle.json   what there is, each with its sha256
//	NAME-DIGEST/trials/       the resolved spec of each trial
//	NAME-DIGEST/bin/          the runner, and its plugins where it looks for them
//	NAME-DIGEST/jobs/, logs/  what was started of it, and what that wrote
//	weights/SHA256/           weights that trials begin with, shared by bundles
//	trials/IDENTITY/          the attempts at a trial (core/experiment/ledger), its checkpoints and its database, shared by bundles
//
// The digest is of the contents, so equal inputs give the same bundle. Trials are known by identity whatever bundle they are in, so that none
// is made twice. Data is not copied: it has to be where the spec says on every node.
package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/catalog"
	"tandem/core/results/store"
)

// Format is the version of what a bundle's folder holds.
const Format = 1

// File is the name of what describes a bundle.
const File = "bundle.json"

// manifestLimit bounds File, in bytes.
const manifestLimit = 256 << 20

// Names below the folder of a bundle and of all bundles.
const (
	trialsDir  = "trials"
	weightsDir = "weights"
	pluginsDir = "bin/plugins"
	runnerPath = "bin/runner"
)

// Bundle is a frozen sweep.
type Bundle struct {
	Dir      string // absolute
	Existed  bool   // of Freeze: it was there already
	manifest manifest
	catalog  *catalog.Catalog

	mu         sync.Mutex // guards what follows, which remembers digests from trial to trial
	known      *assemble.Catalog
	identifier assemble.Identifier
}

// manifest is what File holds.
type manifest struct {
	Format     int              `json:"format"`
	Name       string           `json:"name"`
	Digest     string           `json:"digest"` // of the rest
	Platform   string           `json:"platform"`
	Runner     string           `json:"runner_sha256"`
	Experiment store.Experiment `json:"experiment"`
	Metric     string           `json:"metric"`
	Retries    spec.Retries     `json:"retries"`
	Python     string           `json:"python,omitempty"` // the interpreter of plugins in Python: a path that is there on every node
	Plugins    []Plugin         `json:"plugins"`
	Colocated  string           `json:"colocated_sha256,omitempty"` // of the program that serves several plugins; "": none is frozen
	Trials     []Trial          `json:"trials"`
}

// Plugin is one that trials use.
type Plugin struct {
	Name    string `json:"name"` // encoders/vit
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	// Path is where a plugin lies that the spec names by its path. Such a one is not copied, and has to be there on every node.
	Path string `json:"path,omitempty"`
}

// Trial is one run to make.
type Trial struct {
	Number   int          `json:"number"`   // from 0, in the order in which they are best made
	Position int          `json:"position"` // from 0, in the order of the sweep
	ID       string       `json:"id"`       // the first 16 digits of Identity
	Identity string       `json:"identity"`
	Seed     uint64       `json:"seed"`
	Cells    []sweep.Cell `json:"cells"`
	Spec     string       `json:"spec"` // file below the bundle
	SHA256   string       `json:"sha256"`
	// Weights lists what is copied to the folder of weights, by the key of the spec.
	Weights map[string]string `json:"weights,omitempty"`
}

// Variant returns the name of the trial's first cell.
func (t Trial) Variant() string { return t.Cells[0].Variant }

// Name returns the name of the experiment.
func (b *Bundle) Name() string { return b.manifest.Name }

// Digest returns the hex sha256 of all that is frozen.
func (b *Bundle) Digest() string { return b.manifest.Digest }

// Trials returns the trials, in the order in which they are best made.
func (b *Bundle) Trials() []Trial { return b.manifest.Trials }

// Plugins returns the plugins of all trials, by name.
func (b *Bundle) Plugins() []Plugin { return b.manifest.Plugins }

// Metric returns the name of the metric by which trials are compared.
func (b *Bundle) Metric() string { return b.manifest.Metric }

// Retries says how often failed trials are tried again.
func (b *Bundle) Retries() spec.Retries { return b.manifest.Retries }

// Experiment returns what the database knows of the experiment, and the cells to fill.
func (b *Bundle) Experiment() (store.Experiment, []store.Cell) {
	var cells []store.Cell
	inOrder := slices.SortedFunc(slices.Values(b.manifest.Trials), func(a, b Trial) int { return a.Position - b.Position })
	for _, t := range inOrder {
		for _, c := range t.Cells {
			cells = append(cells, store.Cell{Variant: c.Variant, Seed: int64(t.Seed), Identity: t.Identity, Levels: c.Levels, Phase: c.Phase})
		}
	}
	return b.manifest.Experiment, cells
}

// Root returns the folder of all bundles.
func (b *Bundle) Root() string { return filepath.Dir(b.Dir) }

// TrialsDir returns the folder of the attempts at trials: that of a ledger.
func (b *Bundle) TrialsDir() string { return filepath.Join(b.Root(), trialsDir) }

// Runner returns the path of the frozen runner.
func (b *Bundle) Runner() string { return filepath.Join(b.Dir, runnerPath) }

// Catalog returns the catalog of the frozen plugins.
func (b *Bundle) Catalog() *catalog.Catalog { return b.catalog }

func (b *Bundle) path(name string) string { return filepath.Join(b.Dir, filepath.FromSlash(name)) }

// Open opens a bundle's folder.
func Open(dir string) (*Bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	path := filepath.Join(dir, File)
	text, err := files.Read(path, manifestLimit)
	if err != nil {
		return nil, fault.New(fault.NotFound, "%s is no bundle, or this machine does not see it: %w", dir, err).
			WithHint("runner submit makes bundles; their folder has to be on a file system that every node sees under the same path")
	}
	b := &Bundle{Dir: dir}
	if err := json.Unmarshal(text, &b.manifest); err != nil {
		return nil, fault.New(fault.Corrupt, "the bundle: %w", err).WithFile(path, 0, 0)
	}
	m := b.manifest
	if m.Format != Format {
		return nil, fault.New(fault.Unavailable, "the bundle has format %d, this runner knows %d", m.Format, Format).WithFile(path, 0, 0).
			WithHint("use the bundle's own runner: %s", b.Runner())
	}
	if len(m.Trials) == 0 || m.Digest != m.digest() {
		return nil, fault.New(fault.Corrupt, "the bundle is not what was frozen: its digest differs").WithFile(path, 0, 0).
			WithHint("remove the folder %s and submit again; the trials' state lies elsewhere and stays", dir)
	}
	b.find()
	return b, nil
}

// find makes the catalog of the frozen plugins.
func (b *Bundle) find() {
	b.catalog = catalog.New()
	b.catalog.Roots, b.catalog.Dev, b.catalog.Python = []string{b.path(pluginsDir)}, nil, b.manifest.Python
	b.known = assemble.NewCatalog(b.catalog)
}

// IsBundle reports whether a path is the folder of a bundle.
func IsBundle(dir string) bool {
	stat, err := os.Stat(filepath.Join(dir, File))
	return err == nil && stat.Mode().IsRegular()
}

// digest returns the digest of everything else in a manifest.
func (m manifest) digest() string {
	m.Digest = ""
	text, err := json.Marshal(m)
	if err != nil {
		panic("bundle: a manifest does not encode: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Load returns a trial as it was frozen, with its plugins. fault.Corrupt says that something is not what it was: the identity that it
// has here is another one.
func (b *Bundle) Load(t Trial) (sweep.Trial, assemble.Plugins, error) {
	trial := sweep.Trial{ID: t.ID, Identity: t.Identity, Seed: t.Seed, Cells: t.Cells}
	text, err := files.Read(b.path(t.Spec), manifestLimit)
	if err != nil {
		return trial, nil, fault.New(fault.Corrupt, "the bundle: %w", err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != t.SHA256 {
		return trial, nil, fault.New(fault.Corrupt, "the spec is not what was frozen: its digest differs").WithFile(b.path(t.Spec), 0, 0).
			WithHint("remove the folder %s and submit again", b.Dir)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := spec.Parse(b.path(t.Spec), text, spec.Options{Set: b.relocations(t), Catalog: b.known})
	if err != nil {
		return trial, nil, err
	}
	used, err := b.known.Plugins(s)
	if err != nil {
		return trial, nil, err
	}
	now, err := b.identifier.Identity(s, used)
	if err != nil {
		return trial, nil, err
	}
	if now != t.Identity {
		return trial, nil, fault.New(fault.Corrupt, "trial %s resolves to another one here (%.16s): %s", t.ID, now, b.changed(used)).
			WithHint("runner submit the spec again: a changed plugin or weights make a new trial")
	}
	trial.Spec = s
	return trial, used, nil
}

// relocations returns the overrides by which a spec names the copies of its weights.
func (b *Bundle) relocations(t Trial) (set []string) {
	for key, at := range t.Weights {
		set = append(set, fmt.Sprintf("%s=%q", key, filepath.Join(b.Root(), weightsDir, filepath.FromSlash(at))))
	}
	slices.Sort(set)
	return set
}

// changed says which plugins are not those that were frozen.
func (b *Bundle) changed(used assemble.Plugins) string {
	var changed []string
	for name, sha := range used.Digests() {
		i := slices.IndexFunc(b.manifest.Plugins, func(p Plugin) bool { return p.Name == name })
		if i < 0 || b.manifest.Plugins[i].SHA256 != sha {
			changed = append(changed, name)
		}
	}
	if slices.Sort(changed); len(changed) == 0 {
		return "weights, or a file that the spec names, are others now"
	}
	return "changed since it was frozen: " + strings.Join(changed, ", ")
}
