package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/child"
)

// A plugin in Python is a script, or a folder with a plugin.py. What it imports stands in some environment of Python, so
// the interpreter is not simply the one of its first line.

// EnvPython names the variable that gives the interpreter of all plugins in Python.
const EnvPython = "TANDEM_PYTHON"

// folderScript names the script of a plugin that is a folder.
const folderScript = "plugin.py"

// isPython reports whether a file is a script in Python: by its ending, or by its first line.
func isPython(path string) bool {
	return strings.HasSuffix(path, ".py") || strings.Contains(filepath.Base(shebang(path)), "python")
}

// shebang returns the interpreter that a script's first line names, without /usr/bin/env; "" when it has no such line.
func shebang(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if stat, err := f.Stat(); err != nil || !stat.Mode().IsRegular() {
		return ""
	}
	line, _ := bufio.NewReaderSize(f, 256).ReadSlice('\n')
	text, ok := strings.CutPrefix(string(line), "#!")
	words := strings.Fields(text)
	if !ok || len(words) == 0 {
		return ""
	}
	if filepath.Base(words[0]) == "env" {
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				return word
			}
		}
		return ""
	}
	return words[0]
}

// interpreter returns the program that runs a script in Python; "" for any other file. It is the first that there is of
// Catalog.Python, $TANDEM_PYTHON, the environment .venv in the plugin's folder, the first line if it names an environment,
// $VIRTUAL_ENV, the one that make python makes beside this program, and python3. The first two must exist.
func (c *Catalog) interpreter(path string) (string, error) {
	if !isPython(path) {
		return "", nil
	}
	for _, given := range []struct{ what, program string }{{"python", c.Python}, {EnvPython, os.Getenv(EnvPython)}} {
		if given.program == "" {
			continue
		}
		program, err := exec.LookPath(given.program)
		if err != nil {
			return "", fault.New(fault.Unavailable, "%s is %s, which cannot be run: %w", given.what, given.program, err)
		}
		return filepath.Abs(program)
	}
	candidates := []string{filepath.Join(filepath.Dir(path), ".venv", "bin", "python")}
	if own := shebang(path); filepath.IsAbs(own) && filepath.Dir(own) != "/usr/bin" && filepath.Dir(own) != "/bin" {
		candidates = append(candidates, own)
	}
	if dir := os.Getenv("VIRTUAL_ENV"); dir != "" {
		candidates = append(candidates, filepath.Join(dir, "bin", "python"))
	}
	for _, dir := range besideProgram("../.venv/python", "../lib/tandem/python") {
		candidates = append(candidates, filepath.Join(dir, "bin", "python"))
	}
	for _, program := range candidates {
		if stat, err := os.Stat(program); err == nil && stat.Mode().IsRegular() && stat.Mode()&0o111 != 0 {
			return program, nil
		}
	}
	program, err := exec.LookPath("python3")
	if err != nil {
		return "", fault.New(fault.Unavailable, "%s is a plugin in Python, and there is no python3", path).
			WithHint("install Python, or run make python, or set python in the spec or %s", EnvPython)
	}
	return program, nil
}

// besideProgram returns paths relative to the folder of this program.
func besideProgram(relative ...string) []string {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	var out []string
	for _, r := range relative {
		out = append(out, filepath.Join(filepath.Dir(program), filepath.FromSlash(r)))
	}
	return out
}

var missingModule = regexp.MustCompile(`No module named '([A-Za-z0-9_.]+)'`)

// explainPython returns the fault of a script that ended because a module is missing; nil when that is not the reason.
func explainPython(path, interpreter, stderr string) *fault.Error {
	m := missingModule.FindStringSubmatch(stderr)
	if interpreter == "" || m == nil {
		return nil
	}
	module, _, _ := strings.Cut(m[1], ".")
	e := fault.New(fault.Unavailable, "%s needs the module %s, which %s does not have", path, module, interpreter).WithDetail(stderr)
	if module != "tandem" {
		return e.WithHint("%s -m pip install %s; or choose another Python: python in the spec, %s, or .venv in the plugin's folder", interpreter, module, EnvPython)
	}
	sdk := "core/plugin/sdk/python, in tandem's repository"
	for _, dir := range besideProgram("../core/plugin/sdk/python", "../lib/tandem/sdk/python") {
		if isDir(dir) {
			sdk = dir
			break
		}
	}
	return e.WithHint("%s -m pip install %s; or choose another Python: python in the spec, %s, or .venv in the plugin's folder", interpreter, sdk, EnvPython)
}

// sdkVersion names the version that every plugin made with the Python SDK has.
const sdkVersion = "tandem-sdk"

// versionsOf asks the SDK that the plugin would import, which is why the plugin's folder comes first.
const versionsOf = `import sys, os
sys.path[0] = os.path.dirname(sys.argv[1])
from tandem import describe
describe.print_versions(*sys.argv[1:])`

// runVersions returns the versions of what runs a plugin in Python now, without running the plugin, which may import
// for seconds before it answers. It returns nil when the SDK cannot tell.
func runVersions(interpreter, path string, d clip.Descriptor) map[string]string {
	if interpreter == "" || d.Versions[sdkVersion] == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), describeTimeout)
	defer cancel()
	stdout := &bounded{most: maxDescriptor, full: cancel}
	var versions map[string]string
	if child.Run(ctx, stdout, io.Discard, interpreter, "-c", versionsOf, path, string(d.Kind)) != nil || json.Unmarshal(stdout.text, &versions) != nil {
		return nil
	}
	return versions
}
