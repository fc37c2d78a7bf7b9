package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// fakePython writes a program that takes the place of an interpreter. Its descriptor has its name as summary.
func fakePython(t *testing.T, path, more string) string {
	t.Helper()
	name := filepath.Base(filepath.Dir(filepath.Dir(path)))
	write(t, path, fmt.Sprintf("#!/bin/sh\necho '{\"kind\": \"loss\", \"name\": \"py\", \"version\": \"1\", \"protocol\": 2, \"summary\": \"%s\"%s}'\n", name, more), 0o755)
	return path
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// clearPythons takes away the environment's own say in which Python runs.
func clearPythons(t *testing.T) {
	t.Setenv(catalog.EnvPython, "")
	t.Setenv("VIRTUAL_ENV", "")
}

func TestTheInterpreterOfAPythonPluginIsTheNearest(t *testing.T) {
	clearPythons(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "py", "plugin.py")
	write(t, script, "print()\n", 0o644)
	c := &catalog.Catalog{}
	expect := func(summary string) {
		t.Helper()
		d, b, err := c.Describe(clip.KindLoss, filepath.Dir(script))
		if err != nil || d.Summary != summary || b.Path != script || len(b.Command()) != 2 {
			t.Errorf("%q by %v, %v; want %s", d.Summary, b.Command(), err, summary)
		}
	}
	fakePython(t, filepath.Join(dir, "path", "bin", "python3"), "")
	t.Setenv("PATH", filepath.Join(dir, "path", "bin")+":"+os.Getenv("PATH"))
	expect("path")
	fakePython(t, filepath.Join(dir, "active", "bin", "python"), "")
	t.Setenv("VIRTUAL_ENV", filepath.Join(dir, "active"))
	expect("active")
	first := "#!" + fakePython(t, filepath.Join(dir, "own", "bin", "python3"), "") + "\n"
	write(t, script, first, 0o644)
	expect("own")
	fakePython(t, filepath.Join(dir, "py", ".venv", "bin", "python"), "")
	expect(".venv")
	t.Setenv(catalog.EnvPython, fakePython(t, filepath.Join(dir, "environment", "bin", "python"), ""))
	expect("environment")
	c.Python = fakePython(t, filepath.Join(dir, "spec", "bin", "python"), "")
	expect("spec")
	c.Python = filepath.Join(dir, "nowhere")
	if _, _, err := c.Describe(clip.KindLoss, script); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("an interpreter that is not there gives %v", err)
	}
}

func TestAFolderWithAPluginPyIsAPlugin(t *testing.T) {
	clearPythons(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "losses", "py", "plugin.py"), "print()\n", 0o644)
	write(t, filepath.Join(root, "losses", "helper.py"), "x = 1\n", 0o644)
	if err := os.MkdirAll(filepath.Join(root, "losses", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &catalog.Catalog{Roots: []string{root}, Python: fakePython(t, filepath.Join(root, "venv", "bin", "python"), "")}
	if names := c.Names(clip.KindLoss); len(names) != 1 || names[0] != "py" {
		t.Errorf("losses are %v", names)
	}
	if _, b, err := c.Describe(clip.KindLoss, "py"); err != nil || b.Ref() != "losses/py" || filepath.Base(b.Path) != "plugin.py" {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := c.Find(clip.KindLoss, filepath.Join(root, "losses", "empty")); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "plugin.py") {
		t.Errorf("an empty folder gives %v", err)
	}
}

// The identity of a plugin covers its sources and the versions of what runs it.
func TestSourcesAndVersionsAreAPythonPluginsIdentity(t *testing.T) {
	clearPythons(t)
	dir := t.TempDir()
	script, module, python := filepath.Join(dir, "py", "plugin.py"), filepath.Join(dir, "py", "model.py"), filepath.Join(dir, "venv", "bin", "python")
	write(t, script, "import model\n", 0o644)
	write(t, module, "width = 1\n", 0o644)
	fakePython(t, python, `, "versions": {"torch": "2.0"}`)
	c := &catalog.Catalog{Python: python, CacheDir: t.TempDir()}
	digest := func() string {
		t.Helper()
		_, b, err := c.Describe(clip.KindLoss, script)
		if err != nil {
			t.Fatal(err)
		}
		return b.SHA256
	}
	first := digest()
	if again := digest(); again != first {
		t.Errorf("the same plugin is %s and %s", first, again)
	}
	fakePython(t, python, `, "versions": {"torch": "2.1"}`)
	second := digest()
	if second == first {
		t.Error("another torch is the same plugin")
	}
	write(t, module, "width = 2\n", 0o644)
	if digest() == second {
		t.Error("another source is the same plugin")
	}
}

// The author's line comes first already when a plugin is only described.
func TestTheTraceOfADescriptionBeginsWithTheAuthorsLine(t *testing.T) {
	clearPythons(t)
	dir := t.TempDir()
	script, python := filepath.Join(dir, "mine.py"), filepath.Join(dir, "venv", "bin", "python")
	write(t, script, "import tandem\n", 0o644)
	write(t, python, "#!/bin/sh\nprintf 'Traceback (most recent call last):\\n  File \"%s\", line 1, in <module>\\nNameError: x\\n' "+script+" >&2\nexit 1\n", 0o755)
	_, _, err := (&catalog.Catalog{Python: python}).Describe(clip.KindLoss, script)
	var e *fault.Error
	if e, _ = err.(*fault.Error); e == nil || !strings.HasPrefix(e.Detail, "NameError: x\nin the plugin:\n") {
		t.Errorf("%+v", err)
	}
}

func TestAMissingModuleHasARemedy(t *testing.T) {
	clearPythons(t)
	dir := t.TempDir()
	script, python := filepath.Join(dir, "mine.py"), filepath.Join(dir, "venv", "bin", "python")
	write(t, script, "import tandem\n", 0o644)
	c := &catalog.Catalog{Python: python}
	for module, remedy := range map[string]string{"tandem": "core/plugin/sdk/python", "einops": "-m pip install einops"} {
		write(t, python, "#!/bin/sh\necho \"ModuleNotFoundError: No module named '"+module+"'\" >&2\nexit 1\n", 0o755)
		_, _, err := c.Describe(clip.KindLoss, script)
		var e *fault.Error
		if e, _ = err.(*fault.Error); e == nil || e.Kind != fault.Unavailable || !strings.Contains(e.Msg, "needs the module "+module) || !strings.Contains(e.Hint, remedy) {
			t.Errorf("%s: %v", module, err)
		}
	}
}
