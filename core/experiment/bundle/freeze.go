package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"tandem/core/experiment/assemble"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/files"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/wire"
)

// Options say where and of what a bundle is made.
type Options struct {
	Root   string // the folder of all bundles, which every node sees
	Runner string // the program that tasks run; "": this one
	DryRun bool   // only say what would be frozen: nothing is written
}

// A copied plugin, and the files that it consists of.
type part struct {
	assemble.Plugin
	files []string
}

// Freeze makes the bundle of a sweep, or returns the one that there is of the same contents. fault.Invalid says that trials of the sweep cannot
// be made apart from one another, or that a plugin cannot be frozen.
func Freeze(l lab.Lab, s *sweep.Sweep, o Options) (*Bundle, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if o.Runner == "" {
		if o.Runner, err = os.Executable(); err != nil {
			return nil, fault.New(fault.Unavailable, "the runner's own file: %w", err)
		}
	}
	m := manifest{Format: Format, Name: s.Base.Name, Platform: runtime.GOOS + "/" + runtime.GOARCH, Metric: s.Metric, Retries: s.Retries}
	if s.Design == "" {
		m.Retries = spec.DefaultRetries()
	}
	m.Experiment, _ = schedule.Planned(s)
	if m.Runner, err = files.Digest(o.Runner); err != nil {
		return nil, err
	}
	f := &freezer{lab: l, known: assemble.NewCatalog(l.Catalog), manifest: &m, root: root, specs: map[string]string{}, parts: map[string]part{}, weights: map[string]string{}}
	for n, i := range schedule.BySeed(s.Trials) {
		if err := f.add(n, i, s.Trials[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(m.Plugins, func(a, b Plugin) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path)) })
	m.Digest = m.digest()
	b := &Bundle{Dir: filepath.Join(root, fmt.Sprintf("%s-%.12s", m.Name, m.Digest)), manifest: m}
	b.find()
	if IsBundle(b.Dir) {
		there, err := Open(b.Dir)
		if err == nil {
			there.Existed = true
		}
		return there, err
	}
	if o.DryRun {
		return b, nil
	}
	return b, f.write(b, o.Runner)
}

// check reports sweeps whose trials depend on one another.
func check(s *sweep.Sweep) error {
	switch {
	case s.Search != nil:
		return fault.New(fault.Invalid, "ablate.design search chooses each trial by the results of those before: its trials cannot be handed out in advance").
			WithPath("ablate.design").WithHint("run it in one job: sbatch --wrap 'runner run SPEC'; several such jobs may share one database on one machine")
	case s.Stop != nil:
		return fault.New(fault.Invalid, "ablate.stop compares a trial with the others while it runs, and tasks of a cluster do not see one another's").
			WithPath("ablate.stop").WithHint("take ablate.stop out of the spec, or run the sweep in one job: sbatch --wrap 'runner run SPEC'")
	case len(s.Trials) == 0:
		return fault.New(fault.Invalid, "the sweep has no trials")
	}
	return nil
}

type freezer struct {
	lab        lab.Lab
	known      *assemble.Catalog
	manifest   *manifest
	root       string
	identifier assemble.Identifier
	specs      map[string]string // text by name
	parts      map[string]part   // by plugin
	weights    map[string]string // where they come from, by place below the folder of weights
	colocated  catalog.Binary    // serves several plugins; empty: no trial can use it
}

// add takes a trial up.
func (f *freezer) add(number, position int, t sweep.Trial) error {
	used, err := f.known.Plugins(t.Spec)
	if err != nil {
		return err
	}
	if dev := used.DevFiles(); dev != "" {
		return fault.New(fault.Invalid, "files of work in progress are not frozen: %s", dev).
			WithHint("build the plugin into its folder, and leave --dev-plugin and $%s out", catalog.EnvDev)
	}
	for _, u := range used {
		if err := f.plugin(u); err != nil {
			return err
		}
		if t.Spec.Python != "" || u.Binary.Interpreter == "" {
			continue
		}
		// Which one is nearest is not the same for a copy.
		if f.manifest.Python == "" {
			f.manifest.Python = u.Binary.Interpreter
		}
		if f.manifest.Python != u.Binary.Interpreter {
			return fault.New(fault.Invalid, "%s would run with %s, another plugin with %s: a bundle has one Python", u.Binary.Ref(), u.Binary.Interpreter, f.manifest.Python).
				WithPath("python").WithHint("set python in the spec, or %s, to one that has what all plugins import", catalog.EnvPython)
		}
	}
	if program, err := assemble.ColocatedProgram(f.lab.Catalog, t.Spec, used); err != nil {
		return err
	} else if program.Path != "" {
		f.colocated, f.manifest.Colocated = program, program.SHA256
	}
	contents, err := f.identifier.Contents(t.Spec, used)
	if err != nil {
		return err
	}
	text := t.Spec.YAML(false)
	sum := sha256.Sum256([]byte(text))
	one := Trial{Number: number, Position: position, ID: t.ID, Identity: t.Identity, Seed: t.Seed,
		Spec: fmt.Sprintf("%s/%s.yaml", trialsDir, t.ID), SHA256: hex.EncodeToString(sum[:])}
	for _, c := range t.Cells { // how a cell came to be is in the spec
		one.Cells = append(one.Cells, sweep.Cell{Variant: c.Variant, Levels: c.Levels, Phase: c.Phase})
	}
	for _, c := range contents {
		at := fmt.Sprintf("%.16s/%s", c.SHA256, filepath.Base(c.Path))
		if one.Weights == nil {
			one.Weights = map[string]string{}
		}
		one.Weights[c.Key], f.weights[at] = at, c.Path
	}
	f.specs[one.Spec] = text
	f.manifest.Trials = append(f.manifest.Trials, one)
	return nil
}

// plugin takes a plugin up, unless it is there.
func (f *freezer) plugin(u assemble.Plugin) error {
	p := Plugin{Name: u.Binary.Ref(), Version: u.Descriptor.Version, SHA256: u.Binary.SHA256}
	if found, err := f.lab.Catalog.Find(u.Binary.Kind, u.Binary.Name); err != nil || found != u.Binary.Path {
		p.Path = u.Binary.Path
	}
	if slices.Contains(f.manifest.Plugins, p) {
		return nil
	}
	f.manifest.Plugins = append(f.manifest.Plugins, p)
	if p.Path != "" {
		return nil
	}
	names, err := catalog.Files(u.Binary, u.Descriptor)
	if err != nil {
		return err
	}
	f.parts[p.Name] = part{u, names}
	return nil
}

// write fills the folder of a bundle: first under another name, so that it is there whole or not at all.
func (f *freezer) write(b *Bundle, runner string) error {
	told := func(err error) error {
		var f *fault.Error
		if err == nil || errors.As(err, &f) {
			return err
		}
		return fault.New(fault.Unavailable, "the bundle: %w", err).WithFile(b.Dir, 0, 0).
			WithHint("--bundles names another folder; it has to be one that every node sees")
	}
	if err := os.MkdirAll(f.root, 0o755); err != nil {
		return told(err)
	}
	temp, err := os.MkdirTemp(f.root, ".freezing-")
	if err != nil {
		return told(err)
	}
	defer os.RemoveAll(temp)
	for at, path := range f.weights {
		if err := f.copyWeights(at, path); err != nil {
			return told(err)
		}
	}
	for name, text := range f.specs {
		if err := writeFile(filepath.Join(temp, name), []byte(text)); err != nil {
			return told(err)
		}
	}
	if err := copyFile(runner, filepath.Join(temp, runnerPath)); err != nil {
		return told(err)
	}
	for _, p := range f.parts {
		if err := p.copyTo(filepath.Join(temp, pluginsDir)); err != nil {
			return told(err)
		}
	}
	if f.colocated.Path != "" {
		to := filepath.Join(temp, pluginsDir, f.colocated.Name)
		if err := errors.Join(copyFile(f.colocated.Path, to), copyFile(f.colocated.Path+".json", to+".json")); err != nil {
			return told(err)
		}
	}
	text, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return told(err)
	}
	if err := writeFile(filepath.Join(temp, File), append(text, '\n')); err != nil {
		return told(err)
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return told(err)
	}
	if err := os.Rename(temp, b.Dir); err != nil {
		if IsBundle(b.Dir) { // another one made it meanwhile
			b.Existed = true
		} else {
			return told(err)
		}
	}
	for _, t := range b.Trials() {
		if _, _, err := b.Load(t); err != nil {
			return fault.New(fault.KindOf(err), "the bundle does not hold what it should: %w", err)
		}
	}
	return nil
}

// copyTo copies a plugin below a folder of plugins. A program gets its descriptor beside it, so that no node has to ask for it.
func (p part) copyTo(root string) error {
	from, to := filepath.Dir(p.Binary.Path), filepath.Join(root, p.Binary.Kind.Dir())
	if filepath.Base(from) == p.Binary.Name { // a folder of its own
		to = filepath.Join(to, p.Binary.Name)
	}
	for _, name := range p.files {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	sum, err := files.Digest(p.Binary.Path)
	if err != nil || sum != p.Binary.SHA256 { // a script
		return err
	}
	text, err := json.MarshalIndent(wire.Manifest{SHA256: sum, Descriptor: p.Descriptor}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(to, filepath.Base(p.Binary.Path)+".json"), text)
}

// copyWeights copies a file or folder below the folder of weights, unless it is there.
func (f *freezer) copyWeights(at, from string) error {
	to := filepath.Join(f.root, weightsDir, filepath.FromSlash(at))
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(to), ".copying-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	whole := filepath.Join(temp, filepath.Base(to))
	if isFile(from) {
		err = copyFile(from, whole)
	} else {
		err = copyFolder(from, whole)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(whole, to); err != nil {
		if _, there := os.Stat(to); there != nil {
			return err
		}
	}
	return nil
}

// copyFolder copies the files of a folder, those of folders below it, and what links in it lead to.
func copyFolder(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(from, e.Name())
		stat, err := os.Stat(path)
		switch {
		case err != nil:
			return err
		case stat.Mode().IsRegular():
			err = copyFile(path, filepath.Join(to, e.Name()))
		case stat.IsDir() && e.IsDir():
			err = copyFolder(path, filepath.Join(to, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isFile(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.Mode().IsRegular()
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// copyFile copies a file and whether it may be executed, durably.
func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := files.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	stat, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, stat.Mode().Perm()|0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
