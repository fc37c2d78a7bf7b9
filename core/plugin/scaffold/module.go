package scaffold

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"tandem/core/fault"
)

// isTree reports whether a folder holds tandem's sources.
func isTree(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(mod), "module tandem\n")
}

// treeAround returns the folder of tandem's sources that a folder lies in; "" when it is elsewhere.
func treeAround(dir string) string {
	for {
		if isTree(dir) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// Locate returns the folder of tandem's sources: around the working folder, around this program, or where this program
// was built; "" when it is nowhere.
func Locate() string {
	var places []string
	if here, err := os.Getwd(); err == nil {
		places = append(places, here)
	}
	if program, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(program); err == nil {
			program = real
		}
		places = append(places, filepath.Dir(program))
	}
	if _, source, _, ok := runtime.Caller(0); ok && filepath.IsAbs(source) {
		places = append(places, filepath.Dir(source))
	}
	for _, dir := range places {
		if root := treeAround(dir); root != "" {
			return root
		}
	}
	return ""
}

var (
	requirement = regexp.MustCompile(`(?m)^\t([^\s]+ v[^\s]+)( // indirect)?$`)
	goLine      = regexp.MustCompile(`(?m)^go [0-9.]+$`)
	replaceLine = regexp.MustCompile(`(?m)^replace .*$`)
)

// module returns the go.mod and go.sum of a plugin in a module of its own. They name every version that tandem itself is
// built with, so that a build finds all it needs where tandem was built, without a network.
func (p Plugin) module() (mod, sum string, err error) {
	tandem := p.Tandem
	if tandem == "" {
		tandem = Locate()
	}
	if tandem, err = filepath.Abs(tandem); err != nil || p.Tandem == "" && Locate() == "" || !isTree(tandem) {
		return "", "", fault.New(fault.NotFound, "there are no sources of tandem in %q", tandem).
			WithHint("a plugin in Go is built with them: --tandem FOLDER names where they are")
	}
	text, err := os.ReadFile(filepath.Join(tandem, "go.mod"))
	if err != nil {
		return "", "", fault.New(fault.Unavailable, "%w", err)
	}
	sums, err := os.ReadFile(filepath.Join(tandem, "go.sum"))
	if err != nil {
		return "", "", fault.New(fault.Unavailable, "%w", err)
	}
	var b strings.Builder
	// With a prefix no name is that of a package of Go (fmt), of tandem's module or of a device of Windows (con).
	b.WriteString("module tandem-" + p.Name + "\n\n" + goLine.FindString(string(text)) + "\n\n")
	b.WriteString("require tandem v0.0.0\n\n// tandem's sources. Without this line, require a published version.\n")
	b.WriteString("replace tandem => " + modPath(tandem) + "\n\nrequire (\n")
	for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
		b.WriteString("\t" + m[1] + " // indirect\n")
	}
	b.WriteString(")\n")
	for _, line := range replaceLine.FindAllString(string(text), -1) {
		b.WriteString("\n" + line + "\n")
	}
	return b.String(), string(sums), nil
}

// modPath returns a path as go.mod writes it.
func modPath(path string) string {
	if strings.ContainsAny(path, " \t\"'`(),;") {
		return "`" + path + "`"
	}
	return path
}
