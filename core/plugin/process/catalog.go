package process

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Kinds are all kinds of plugin, in the order in which they are listed.
var Kinds = []clip.Kind{clip.KindEncoder, clip.KindLoss, clip.KindDataset}

// Binary is a plugin on disk.
type Binary struct {
	Kind clip.Kind
	Name string // vit
	Path string // absolute
	// SHA256 is hex, of the file when it was described; of a script, of all that it consists of.
	SHA256 string
}

// Ref is the full name: encoders/vit.
func (b Binary) Ref() string { return b.Kind.Dir() + "/" + b.Name }

// Entry is a plugin in a listing: what it is, or why that could not be found out.
type Entry struct {
	Binary     Binary
	Descriptor clip.Descriptor
	Err        error
}

// Catalog finds plugins by name and knows their descriptors. The fields may be changed before use.
type Catalog struct {
	// Roots are the folders that hold <kind>/<name>, first match first.
	Roots []string
	// CacheDir keeps the descriptors of plugins that have no manifest, by checksum; "" for none.
	CacheDir string
}

// NewCatalog is the user's catalog: $RUNNER_PLUGIN_PATH, the folder plugins beside this program, where make install puts
// them (../lib/tandem/plugins), and
// tandem/plugins in the user's data folder.
func NewCatalog() *Catalog {
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

// Find is the path of the plugin that ref names: vit, encoders/vit or a path (with a slash at the
// start, or beginning with ./ or ../). fault.Invalid when ref names another kind of plugin,
// fault.NotFound when there is none.
func (c *Catalog) Find(kind clip.Kind, ref string) (string, error) {
	if isPath(ref) {
		return executable(ref)
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
	if path, ok := c.lookup(kind, name); ok {
		return path, nil
	}
	for _, other := range Kinds {
		if _, ok := c.lookup(other, name); ok && other != kind {
			return "", wrongKind(name, other, kind).WithHint("%s", c.known(kind, name))
		}
	}
	return "", fault.New(fault.NotFound, "no %s plugin is named %q", kind, name).WithHint("%s", c.known(kind, name)).
		WithDetail("searched:\n" + strings.Join(c.folders(kind), "\n"))
}

func isPath(ref string) bool {
	return filepath.IsAbs(ref) || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../")
}

func executable(ref string) (string, error) {
	path, err := filepath.Abs(ref)
	if err != nil {
		return "", fault.New(fault.NotFound, "%s: %w", ref, err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fault.New(fault.NotFound, "there is no plugin at %s", path)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return "", fault.New(fault.NotFound, "%s is not an executable file", path)
	}
	return path, nil
}

func wrongKind(name string, is, want clip.Kind) *fault.Error {
	return fault.New(fault.Invalid, "%s is %s, not %s", name, article(is), article(want))
}

// article is "an encoder", "a loss".
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
		if path, err := executable(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// known is a hint that names the plugins of a kind.
func (c *Catalog) known(kind clip.Kind, name string) string {
	names := c.Names(kind)
	if len(names) == 0 {
		return "there are no plugins of this kind: run make plugins, or set RUNNER_PLUGIN_PATH"
	}
	hint := kind.Dir() + " are " + strings.Join(names, ", ")
	if near := fault.Near(name, names); near != "" {
		hint += " (did you mean " + near + "?)"
	}
	return hint
}

// Names are the names of all plugins of a kind, sorted.
func (c *Catalog) Names(kind clip.Kind) []string {
	var names []string
	for _, dir := range c.folders(kind) {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			if _, err := executable(filepath.Join(dir, f.Name())); err == nil && !strings.HasPrefix(f.Name(), ".") {
				names = append(names, f.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// List is every plugin that can be found, by kind and name.
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

// Describe is the descriptor of a plugin, without a process where that is possible: from the manifest
// beside the binary when its checksum is the binary's, else from the user's cache, else by running
// the binary with --describe. Errors are Find's, and fault.Invalid for what is no plugin, or a plugin
// of another kind or protocol.
func (c *Catalog) Describe(kind clip.Kind, ref string) (clip.Descriptor, Binary, error) {
	path, err := c.Find(kind, ref)
	if err != nil {
		return clip.Descriptor{}, Binary{}, err
	}
	d, sum, err := c.identify(path)
	if err != nil {
		return clip.Descriptor{}, Binary{}, err
	}
	b := Binary{Kind: kind, Name: d.Name, Path: path, SHA256: sum}
	if d.Kind != kind {
		return d, b, wrongKind(ref, d.Kind, kind)
	}
	if d.Protocol != clip.ProtocolVersion {
		return d, b, wrongProtocol(d.Protocol).WithPlugin(b.Ref())
	}
	return d, b, nil
}

func wrongProtocol(version int) *fault.Error {
	return fault.New(fault.Invalid, "the plugin speaks protocol %d, this runner speaks protocol %d", version,
		clip.ProtocolVersion).WithHint("rebuild the plugin with the runner's version of tandem")
}
