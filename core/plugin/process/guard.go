package process

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/child"
	"tandem/core/plugin/wire"
)

// Guard limits what a plugin may do to the machine. The zero value limits nothing but its log.
type Guard struct {
	// Strict lets a plugin read and change only what it needs, and closes the network to it. Unconfined tells what
	// of this the machine cannot do.
	Strict bool
	Memory int64 // bytes that its processes may take together; 0: no limit
	// Processes limits how many processes it may have at a time; 0: no limit, or when it is strict strictProcesses.
	Processes int
	Cores     int   // processors that its processes may use; 0: all
	Log       int64 // bytes of its log that are kept; 0: some MiB
}

// Unconfined returns what Guard.Strict does not keep a plugin from on this machine: sentences without a subject.
func Unconfined() []string { return child.Lacks() }

// TotalMemory returns the memory of this machine, or of the group of processes that this one belongs to when that is
// less, in bytes; 0 where the system does not tell.
func TotalMemory() int64 { return child.TotalMemory() }

// confinement returns what a plugin may do. sockets is its folder for sockets.
func (p *Process) confinement(code *catalog.Program, program string, env []string, sockets string, o StartOptions) child.Confinement {
	limits := child.Confinement{Strict: o.Guard.Strict, Cores: nextCores(o.Guard.Cores)}
	if !limits.Strict {
		return limits
	}
	limits.Read = append(limits.Read, o.Read...)
	limits.Read = append(limits.Read, pathsOf(p.Descriptor, o.With)...)
	if code.Script {
		limits.Read = append(limits.Read, filepath.Dir(p.Binary.Path), resolved(filepath.Dir(p.Binary.Path)))
		limits.Read = append(limits.Read, interpreterFolders(p.Binary.Path, env)...)
		if program != p.Binary.Path { // an interpreter
			limits.Read = append(limits.Read, prefixOf(program)...)
		}
	} else {
		limits.Read = append(limits.Read, p.Binary.Path)
	}
	limits.Read = append(limits.Read, userFolders(env)...)
	limits.Write = append([]string{sockets}, o.Write...)
	if p.exchange != nil {
		limits.Read = append(limits.Read, p.exchange.in)
		limits.Write = append(limits.Write, p.exchange.out, p.exchange.temp)
	}
	return limits
}

// pathsOf returns what the paths in a plugin's settings name. A list of pictures names files beside it: the folder of a
// file counts too.
func pathsOf(d clip.Descriptor, with []byte) (paths []string) {
	var settings map[string]any
	if json.Unmarshal(with, &settings) != nil {
		return nil
	}
	add := func(value any) {
		path, ok := value.(string)
		if !ok || !filepath.IsAbs(path) {
			return
		}
		if glob := strings.IndexAny(path, "*?[{"); glob >= 0 && !isFile(path) { // of a source: the folder that all of its files are in
			path = filepath.Dir(path[:glob] + "x")
		}
		for _, path := range []string{path, resolved(path)} {
			paths = append(paths, path)
			if isFile(path) {
				paths = append(paths, filepath.Dir(path))
			}
		}
	}
	for _, f := range d.Schema {
		names := func(t clip.FieldType) bool { return t == clip.TypePath || t == clip.TypeSource }
		if !names(f.Type) && !names(f.Elem) {
			continue
		}
		switch value := settings[f.Name].(type) {
		case []any:
			for _, v := range value {
				add(v)
			}
		case map[string]any:
			for _, v := range value {
				add(v)
			}
		default:
			add(value)
		}
	}
	return paths
}

// placed counts the processors that were given to plugins, so that the next plugin gets others.
var placed atomic.Int64

// nextCores returns n of the processors that this process may use; nil for all.
func nextCores(n int) []int {
	all := child.Cores()
	if n <= 0 || n >= len(all) {
		return nil
	}
	list, first := make([]int, n), int(placed.Add(int64(n)))-n
	for i := range list {
		list[i] = all[(first+i)%len(all)]
	}
	return list
}

func variable(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// userFolders returns the folders beside the system's that programs read: where the environment says that libraries
// and modules are, and where weights and data that were fetched lie.
func userFolders(env []string) (dirs []string) {
	for _, name := range []string{"PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "HF_HOME", "TORCH_HOME"} {
		for _, dir := range filepath.SplitList(variable(env, name)) {
			if filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	home := variable(env, "HOME")
	for _, place := range []struct{ variable, usual, below string }{
		{"XDG_CACHE_HOME", ".cache", "huggingface"}, {"XDG_CACHE_HOME", ".cache", "torch"}, {"XDG_DATA_HOME", ".local/share", "tandem"},
	} {
		dir := variable(env, place.variable)
		if dir == "" && home != "" {
			dir = filepath.Join(home, place.usual)
		}
		if dir != "" {
			dirs = append(dirs, filepath.Join(dir, place.below))
		}
	}
	return dirs
}

// interpreterFolders returns the folders of the interpreter that a script names in its first line.
func interpreterFolders(script string, env []string) (dirs []string) {
	line := firstLineOf(script)
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	for i, word := range words {
		switch {
		case filepath.IsAbs(word) && i == 0:
			dirs = append(dirs, prefixOf(word)...)
		case i > 0 && filepath.Base(words[0]) == "env" && !strings.HasPrefix(word, "-") && !strings.Contains(word, "="):
			for _, dir := range filepath.SplitList(variable(env, "PATH")) {
				if path := filepath.Join(dir, word); isFile(path) {
					return append(dirs, prefixOf(path)...)
				}
			}
		}
	}
	return dirs
}

func firstLineOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.Read(head)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	return line
}

func isFile(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.Mode().IsRegular()
}

// prefixOf returns the folders of an installed program, PREFIX of PREFIX/bin/program, also where links lead and, for a
// virtual environment, that of the interpreter which it was made with. A prefix that holds more than programs (the root,
// a home) does not count; then it is the program itself.
func prefixOf(program string) (dirs []string) {
	home, _ := os.UserHomeDir()
	for _, path := range []string{program, resolved(program)} {
		prefix := filepath.Dir(filepath.Dir(path))
		if prefix == "/" || prefix == home || prefix == filepath.Dir(home) || prefix == "." {
			dirs = append(dirs, path)
			continue
		}
		dirs = append(dirs, prefix)
		text, _ := os.ReadFile(filepath.Join(prefix, "pyvenv.cfg"))
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "home" {
				base := filepath.Dir(strings.TrimSpace(value))
				if base != "/" && base != home {
					dirs = append(dirs, base)
				}
			}
		}
	}
	return dirs
}

// resolved returns where links lead.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// checkGuard reports a limit that this machine cannot hold.
func checkGuard(g Guard) error {
	if g.Memory > 0 && child.MemoryOf(0).Resident == 0 {
		return fault.New(fault.Unavailable, "this system does not tell the memory of processes, and so it cannot be limited").WithPath("plugins.memory")
	}
	return nil
}

// strictProcesses limits the processes of a plugin in the sandbox where nothing else is said.
const strictProcesses = 1000

// processes returns how many processes the plugin may have; 0: no limit.
func (g Guard) processes() int {
	if g.Processes == 0 && g.Strict {
		return strictProcesses
	}
	return g.Processes
}

// memoryEvery sets how often the memory of a plugin with a limit is looked at. In that time a program can take some
// hundred MiB.
const memoryEvery = 100 * time.Millisecond

// watchUse ends the plugin when its processes take more memory than the guard allows, or become too many. It returns when
// the plugin has ended.
func (p *Process) watchUse(arena *wire.Arena) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for usage := p.child.Usage(); ; {
		select {
		case <-p.child.Exited():
			return
		case <-p.stopped: // perhaps without having begun
			return
		case <-ticker.C:
		}
		if p.child.PID() == 0 {
			continue
		}
		if n, most := usage.Look(), p.guard.processes(); most > 0 && n > most {
			p.condemn(fault.New(fault.Exhausted, "it has %d processes, and %d are allowed; the plugin was ended", n, most).
				WithPlugin(p.Name()).WithPath("plugins.processes").WithHint("plugins.processes of the spec sets the limit, for each plugin"))
			return
		}
		if p.guard.Memory == 0 {
			continue
		}
		shared := int64(0)
		if arena != nil {
			shared = arena.Allocated()
		}
		if took := usage.Above(p.guard.Memory, shared); took > 0 {
			p.condemn(fault.New(fault.Exhausted, "its processes took %s of memory, and %s is allowed; the plugin was ended", clip.FormatBytes(took), clip.FormatBytes(p.guard.Memory)).
				WithPlugin(p.Name()).WithPath("plugins.memory").WithHint("plugins.memory of the spec sets the limit, for each plugin; what was saved is gone on with by --resume"))
			return
		}
	}
}

// denials lists what programs say of what the sandbox denies them, in small letters.
var denials = []string{"permission denied", "not permitted", "name resolution", "name or service not known"}

// deniedFault explains an error of a plugin in the sandbox that the sandbox may have caused; nil for any other.
func (p *Process) deniedFault(err error) error {
	text := strings.ToLower(err.Error())
	if !p.guard.Strict || !slices.ContainsFunc(denials, func(d string) bool { return strings.Contains(text, d) }) {
		return nil
	}
	f, ok := wire.FromStatus(err).(*fault.Error)
	if !ok {
		return nil
	}
	return f.WithPlugin(p.Name()).WithHint("the plugin runs in the sandbox (plugins.sandbox: strict): plugins.read names what else it may read; it writes temporary files alone, and has no network").WithDetail(strings.TrimSpace(p.shorten(f.Detail) + "\n" + p.recentWords()))
}
