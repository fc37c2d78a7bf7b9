package child

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// Confinement limits what a plugin's process and its descendants may do. The zero value limits nothing.
type Confinement struct {
	// Strict lets the processes read and change only what Read and Write name, and the files of the system that
	// programs need, and closes the network to them. Lacks tells what of this the system cannot do.
	Strict bool
	Read   []string // files and folders to read and execute; those that are missing do not matter
	Write  []string // likewise, to change too
	Cores  []int    // processors to run on; nil: all
	// Lenient lets the program run with fewer limits when the system refuses one, instead of failing.
	Lenient bool
}

// applies reports whether anything is limited.
func (c Confinement) applies() bool { return c.Strict || len(c.Cores) > 0 }

// A confined program is started in two steps: this program starts itself with an order in its environment, limits
// itself, and then executes the plugin's program. The limits stay, also for all that the plugin starts.

// confineEnv names the variable that holds the order.
const confineEnv = "RUNNER_CONFINE"

// confineFailed is the exit status of a process that did not become a plugin.
const confineFailed = 126

// order tells the second process what to become.
type order struct {
	Confinement
	Program string
	Args    []string
	// Code is the descriptor of the program's file, which becomes CodeAt, where Program refers to it. Both are 0 when
	// Program is executed by its name.
	Code, CodeAt int
}

func init() {
	if text, ok := os.LookupEnv(confineEnv); ok {
		followOrder(text)
	}
}

// followOrder confines this process and executes the program. It does not return.
func followOrder(text string) {
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, confineEnv+"=") })
		err = become(o, env)
	}
	os.Stderr.WriteString("the plugin does not start: " + err.Error() + "\n")
	os.Exit(confineFailed)
}

// Confine limits the process, before it starts. code is the file that its path refers to; nil when the path is the
// file's own.
func (c *Runner) Confine(limits Confinement, code *os.File) {
	if !limits.applies() {
		return
	}
	c.cmd.Path, c.cmd.Args, c.cmd.Env, c.cmd.ExtraFiles = orderOf(limits, c.cmd.Path, c.cmd.Args, c.cmd.Env, c.cmd.ExtraFiles, code)
}

// orderOf returns what is started instead of a program.
func orderOf(limits Confinement, path string, args, env []string, files []*os.File, code *os.File) (string, []string, []string, []*os.File) {
	o := order{Confinement: limits, Program: path, Args: args}
	if code != nil {
		files = append(slices.Clone(files), code)
		o.Code, o.CodeAt = 2+len(files), int(code.Fd())
		o.Read = append(slices.Clone(o.Read), procFD(o.CodeAt))
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic("child: an order does not encode: " + err.Error())
	}
	return selfPath(), args[:1], append(slices.Clone(env), confineEnv+"="+string(text)), files
}

// selfPath returns a path that is this program even if its file was replaced.
func selfPath() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
