// Package catalog finds plugins by name and tells what they are: a file, what that consists of and its digest, and
// the descriptor that the plugin gives of itself.
package catalog

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Kinds lists all kinds of plugin in the order of listings.
var Kinds = []clip.Kind{clip.KindEncoder, clip.KindLoss, clip.KindDataset}

// Binary identifies a plugin on disk.
type Binary struct {
	Kind clip.Kind
	Name string // vit
	Path string // absolute
	// SHA256 is hex, of the file when it was described; of a script, of all that it consists of.
	SHA256 string
	// Interpreter names the program that runs it; "" when it runs by itself.
	Interpreter string
	// Dev says that it stands in for the plugin of its name: see Catalog.Dev.
	Dev bool
}

// Command returns the program that runs the plugin, and its arguments.
func (b Binary) Command() []string { return command(b.Interpreter, b.Path) }

func command(interpreter, path string) []string {
	if interpreter == "" {
		return []string{path}
	}
	return []string{interpreter, path}
}

// Ref returns the full name: encoders/vit.
func (b Binary) Ref() string { return b.Kind.Dir() + "/" + b.Name }

// Entry describes a plugin in a listing, or says why that was not possible.
type Entry struct {
	Binary     Binary
	Descriptor clip.Descriptor
	Err        error
}

// Catalog finds plugins by name and knows their descriptors. The fields may be changed before use.
type Catalog struct {
	// Roots lists the folders that hold <kind>/<name>; the first that has a plugin wins.
	Roots []string
	// CacheDir keeps the descriptors of plugins that have no manifest, by checksum; "" for none.
	CacheDir string
	// Python names the interpreter of plugins in Python; "" lets the catalog find one (see interpreter).
	Python string
	// Dev names files that stand in for plugins while somebody works on them, by full name: losses/mine.
	Dev map[string]string
	// Accept, when not nil, is asked about every plugin that Describe finds, and its error refuses the plugin.
	Accept func(Binary, clip.Descriptor) error
}

// New returns the user's catalog. It searches, in this order, $RUNNER_PLUGIN_PATH, the folder plugins
// beside this program, the folder where make install puts plugins (../lib/tandem/plugins), and tandem/plugins
// in the user's data folder.
func New() *Catalog {
	c := &Catalog{}
	for _, dir := range filepath.SplitList(os.Getenv("RUNNER_PLUGIN_PATH")) {
		if dir != "" {
			c.addRoot(dir)
		}
	}
	if program, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		c.addRoot(filepath.Join(filepath.Dir(program), "plugins"))
		if installed := filepath.Join(filepath.Dir(program), "..", "lib", "tandem", "plugins"); isDir(installed) {
			c.addRoot(installed)
		}
	}
	data := os.Getenv("XDG_DATA_HOME")
	if home, err := os.UserHomeDir(); data == "" && err == nil {
		data = filepath.Join(home, ".local", "share")
	}
	if data != "" {
		c.addRoot(filepath.Join(data, "tandem", "plugins"))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		c.CacheDir = filepath.Join(cache, "tandem", "descriptors")
	}
	return c
}

func isDir(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.IsDir()
}

func (c *Catalog) addRoot(dir string) {
	if abs, err := filepath.Abs(dir); err == nil && !slices.Contains(c.Roots, abs) {
		c.Roots = append(c.Roots, abs)
	}
}

// Find returns the path of the plugin that ref names: vit, encoders/vit or a path (absolute, or beginning with
// ./ or ../), of a program or of a folder that has it. A ref that names another kind of plugin yields fault.Invalid, one that names nothing
// fault.NotFound.
func (c *Catalog) Find(kind clip.Kind, ref string) (string, error) {
	if isPath(ref) {
		return checkExecutable(ref)
	}
	name := ref
	if dir, rest, ok := strings.Cut(ref, "/"); ok {
		other, known := kindOfDir(dir)
		if !known || strings.Contains(rest, "/") {
			return "", fault.New(fault.NotFound, "%q is not the name of a plugin", ref).
				WithHint("write vit, encoders/vit or ./path/to/plugin")
		}
		if other != kind {
			return "", wrongKind(ref, other, kind)
		}
		name = rest
	}
	if name == "" || strings.HasPrefix(name, ".") {
		return "", fault.New(fault.NotFound, "%q is not the name of a plugin", ref).
			WithHint("write vit, encoders/vit or ./path/to/plugin")
	}
	if path, ok := c.Dev[kind.Dir()+"/"+name]; ok {
		return checkExecutable(path)
	}
	if path, ok := c.lookup(kind, name); ok {
		return path, nil
	}
	for _, other := range Kinds {
		if _, ok := c.lookup(other, name); ok && other != kind {
			return "", wrongKind(name, other, kind).WithHint("%s", c.nameHint(kind, name))
		}
	}
	return "", fault.New(fault.NotFound, "no %s plugin is named %q", kind, name).WithHint("%s", c.nameHint(kind, name)).
		WithDetail("searched:\n" + strings.Join(c.folders(kind), "\n"))
}

func isPath(ref string) bool {
	return filepath.IsAbs(ref) || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../")
}

func checkExecutable(ref string) (string, error) {
	path, err := filepath.Abs(ref)
	if err != nil {
		return "", fault.New(fault.NotFound, "%s: %w", ref, err)
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return programOf(path)
	}
	switch {
	case err != nil:
		return "", fault.New(fault.NotFound, "there is no plugin at %s", path)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0 && !strings.HasSuffix(path, ".py"):
		return "", fault.New(fault.NotFound, "%s is not an executable file", path)
	}
	return path, nil
}

// programOf returns the program in a plugin's folder: it has the folder's name, or is a script of Python.
func programOf(dir string) (string, error) {
	name := filepath.Base(dir)
	built := filepath.Join(dir, name)
	if info, err := os.Stat(built); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return built, nil
	}
	script := filepath.Join(dir, folderScript)
	if info, err := os.Stat(script); err == nil && info.Mode().IsRegular() {
		return script, nil
	}
	return "", fault.New(fault.NotFound, "the folder %s has no program: neither %s nor %s", dir, name, folderScript).
		WithHint("a plugin in Go must be built: go build -o %s . in that folder", name)
}

func wrongKind(name string, is, want clip.Kind) *fault.Error {
	return fault.New(fault.Invalid, "%s is %s, not %s", name, article(is), article(want))
}

// article returns "an encoder", "a loss" and so on.
func article(k clip.Kind) string {
	if k == clip.KindEncoder {
		return "an encoder"
	}
	return "a " + string(k)
}

func kindOfDir(dir string) (clip.Kind, bool) {
	for _, k := range Kinds {
		if k.Dir() == dir {
			return k, true
		}
	}
	return "", false
}

func (c *Catalog) folders(kind clip.Kind) []string {
	dirs := make([]string, len(c.Roots))
	for i, root := range c.Roots {
		dirs[i] = filepath.Join(root, kind.Dir())
	}
	return dirs
}

func (c *Catalog) lookup(kind clip.Kind, name string) (string, bool) {
	for _, dir := range c.folders(kind) {
		if path, err := checkExecutable(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// nameHint returns a hint that names the plugins of a kind.
func (c *Catalog) nameHint(kind clip.Kind, name string) string {
	names := c.Names(kind)
	if len(names) == 0 {
		return "there are no plugins of this kind: run make plugins, or set RUNNER_PLUGIN_PATH"
	}
	hint := kind.Dir() + " are " + strings.Join(names, ", ")
	if near := fault.Nearest(name, names); near != "" {
		hint += " (did you mean " + near + "?)"
	}
	return hint
}

// Names returns the names of all plugins of a kind, sorted.
func (c *Catalog) Names(kind clip.Kind) []string {
	var names []string
	for _, dir := range c.folders(kind) {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			// A script without the right to be executed may be a module of another one.
			if info, err := f.Info(); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 {
				continue
			}
			if _, err := checkExecutable(filepath.Join(dir, f.Name())); err == nil && !strings.HasPrefix(f.Name(), ".") {
				names = append(names, f.Name())
			}
		}
	}
	for ref := range c.Dev {
		if name, ok := strings.CutPrefix(ref, kind.Dir()+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// List returns every plugin that can be found, by kind and name.
func (c *Catalog) List() []Entry {
	var list []Entry
	for _, kind := range Kinds {
		for _, name := range c.Names(kind) {
			d, b, err := c.Describe(kind, name)
			if err != nil {
				b.Kind, b.Name = kind, name
				b.Path, _ = c.lookup(kind, name)
			}
			list = append(list, Entry{Binary: b, Descriptor: d, Err: err})
		}
	}
	return list
}

// FindDigest returns the plugin whose sha256 begins with a prefix, also where another of its name goes before it. Without any,
// the Binary is empty; fault.Invalid when there are several.
func (c *Catalog) FindDigest(prefix string) (Binary, clip.Descriptor, error) {
	var found Binary
	var descriptor clip.Descriptor
	for _, root := range c.Roots {
		for _, kind := range Kinds {
			for _, name := range (&Catalog{Roots: []string{root}}).Names(kind) {
				d, b, err := c.Describe(kind, filepath.Join(root, kind.Dir(), name))
				switch {
				case err != nil || !strings.HasPrefix(b.SHA256, prefix): // what is broken has no digest
				case found.SHA256 != "" && found.SHA256 != b.SHA256:
					return Binary{}, clip.Descriptor{}, fault.New(fault.Invalid, "%s begins the digests of %s and %s", prefix, found.Path, b.Path)
				case found.SHA256 == "":
					found, descriptor = b, d
				}
			}
		}
	}
	return found, descriptor, nil
}

// Describe returns the descriptor of a plugin, if possible without starting a process: from the manifest beside
// the binary when its checksum is the binary's, else from the user's cache, else by running the binary with
// --describe. It returns the errors of Find, and fault.Invalid for a file that is not a plugin, or that is a
// plugin of another kind or protocol.
func (c *Catalog) Describe(kind clip.Kind, ref string) (clip.Descriptor, Binary, error) {
	path, err := c.Find(kind, ref)
	if err != nil {
		return clip.Descriptor{}, Binary{}, err
	}
	interpreter, err := c.interpreter(path)
	if err != nil {
		return clip.Descriptor{}, Binary{}, err
	}
	d, sum, err := c.identify(path, interpreter)
	if err != nil {
		return clip.Descriptor{}, Binary{}, err
	}
	b := Binary{Kind: kind, Name: d.Name, Path: path, SHA256: sum, Interpreter: interpreter, Dev: c.isDev(kind, ref)}
	if d.Kind != kind {
		return d, b, wrongKind(ref, d.Kind, kind)
	}
	if name := filepath.Base(ref); b.Dev && d.Name != name {
		return d, b, fault.New(fault.Invalid, "%s stands in for %s/%s and says that it is %s", path, kind.Dir(), name, b.Ref())
	}
	if d.Protocol < clip.OldestProtocol || d.Protocol > clip.ProtocolVersion {
		return d, b, WrongProtocol(d.Protocol).WithPlugin(b.Ref())
	}
	if c.Accept != nil {
		if err := c.Accept(b, d); err != nil {
			return d, b, err
		}
	}
	return d, b, nil
}

// WrongProtocol returns the fault of a plugin that speaks a version of the protocol that this runner does not. It names
// the side to upgrade.
func WrongProtocol(version int) *fault.Error {
	f := fault.New(fault.Invalid, "the plugin speaks protocol %d, this runner speaks protocols %d to %d", version,
		clip.OldestProtocol, clip.ProtocolVersion)
	if version > clip.ProtocolVersion {
		return f.WithHint("upgrade the runner: the plugin was built with a newer tandem")
	}
	return f.WithHint("upgrade the plugin: build it with an SDK of this runner's tandem")
}
