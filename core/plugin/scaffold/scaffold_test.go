package scaffold_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/fault"
	"tandem/core/plugin/scaffold"
)

func TestPluginsInGoBuildInAModuleOfTheirOwn(t *testing.T) {
	parent := t.TempDir()
	for _, kind := range scaffold.Kinds {
		w, err := scaffold.Write(scaffold.Plugin{Kind: kind, Name: "my-" + kind, Language: "go", Dir: filepath.Join(parent, kind)})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		if w.Inside || !slices.Contains(w.Files, "experiment.yaml") {
			t.Errorf("%s: %+v", kind, w)
		}
		build := exec.Command("go", "build", "-buildvcs=false", "-o", kind, ".")
		build.Dir, build.Env = w.Dir, append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, out)
		}
		out, err := exec.Command(filepath.Join(w.Dir, kind), "--describe").Output()
		if err != nil || !strings.Contains(string(out), `"name": "my-`+kind+`"`) {
			t.Errorf("%s describes itself as %s (%v)", kind, out, err)
		}
	}
}

func TestPluginsInPythonDescribeThemselves(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	for _, kind := range scaffold.Kinds {
		w, err := scaffold.Write(scaffold.Plugin{Kind: kind, Name: "my-" + kind, Language: "python", Dir: filepath.Join(parent, kind)})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		describe := exec.Command(python, "plugin.py", "--describe")
		describe.Dir, describe.Env = w.Dir, append(os.Environ(), "PYTHONPATH="+sdk)
		out, err := describe.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"name": "my-`+kind+`"`) {
			t.Errorf("%s describes itself as %s (%v)", kind, out, err)
		}
	}
}

// Names that mean something to Go elsewhere are names of plugins like any other.
func TestAnyNameIsThatOfAModule(t *testing.T) {
	for _, name := range []string{"fmt", "tandem", "con"} {
		dir := filepath.Join(t.TempDir(), name)
		w, err := scaffold.Write(scaffold.Plugin{Kind: "loss", Name: name, Language: "go", Dir: dir})
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		list := exec.Command("go", "list", "-deps", ".")
		list.Dir, list.Env = w.Dir, append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off")
		if out, err := list.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestNewPluginsAreRefused(t *testing.T) {
	dir := t.TempDir()
	good := scaffold.Plugin{Kind: "loss", Name: "mine", Language: "python", Dir: filepath.Join(dir, "new")}
	for what, c := range map[string]struct {
		change func(*scaffold.Plugin)
		kind   fault.Kind
		text   string
	}{
		"kind":     {func(p *scaffold.Plugin) { p.Kind = "los" }, fault.Invalid, "did you mean loss?"},
		"language": {func(p *scaffold.Plugin) { p.Language = "rust" }, fault.Invalid, "go, python"},
		"name":     {func(p *scaffold.Plugin) { p.Name = "../x" }, fault.Invalid, "is no name"},
		"baseline": {func(p *scaffold.Plugin) { p.Name = "clip" }, fault.Invalid, "my-clip"},
		"folder":   {func(p *scaffold.Plugin) { p.Dir = dir }, fault.Conflict, "exists"},
		"tandem":   {func(p *scaffold.Plugin) { p.Language, p.Tandem = "go", dir }, fault.NotFound, "--tandem"},
		"tree":     {func(p *scaffold.Plugin) { p.Language, p.Dir = "go", "here" }, fault.Invalid, "plugins/losses/mine"},
	} {
		p := good
		c.change(&p)
		if _, err := scaffold.Write(p); fault.KindOf(err) != c.kind || !strings.Contains(fault.Format(err), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if w, err := scaffold.Write(good); err != nil || w.Next[0] != "cd "+w.Dir || w.Ref != "./new" {
		t.Errorf("%+v: %v", w, err)
	}
}
