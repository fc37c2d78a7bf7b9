package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/plugin/manual"
)

// docs/plugins has a page of each plugin of this repository, and says what the plugin's descriptor does.
func TestPluginPagesAreWhatDescriptorsSay(t *testing.T) {
	const folder = "../../docs/plugins"
	if *spectest.Update {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	same := func(name, want string) {
		file := filepath.Join(folder, name)
		if *spectest.Update {
			write(t, folder, name, want)
		} else if text, err := os.ReadFile(file); err != nil || string(text) != want {
			t.Errorf("%s is not what the plugin says of itself: run go test ./cmd/runner -run PluginPages -update (%v)", file, err)
		}
	}
	pages, unknown := map[string]bool{"README.md": true}, 0
	var all []clip.Descriptor
	for _, kind := range []clip.Kind{clip.KindEncoder, clip.KindLoss, clip.KindDataset} {
		sources, err := filepath.Glob("../../plugins/" + kind.Dir() + "/*")
		if err != nil || len(sources) == 0 {
			t.Fatalf("%d plugins (%v)", len(sources), err)
		}
		for _, source := range sources {
			d, ok := describe(t, source, kind)
			pages[manual.Name(d)] = true
			if !ok {
				unknown++
				if _, err := os.Stat(filepath.Join(folder, manual.Name(d))); err != nil {
					t.Error(err)
				}
				continue
			}
			all = append(all, d)
			same(manual.Name(d), manual.Page(d))
		}
	}
	if unknown == 0 {
		same("README.md", manual.Index(all))
	}
	found, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !pages[f.Name()] {
			t.Errorf("docs/plugins/%s is the page of no plugin", f.Name())
		}
	}
	vit := filepath.Join(filepath.Dir(runner), "plugins/encoders/vit")
	page, err := os.ReadFile(filepath.Join(folder, "encoders-vit.md"))
	if out := must(t, t.TempDir(), "plugin", "describe", vit, "--markdown"); err != nil || out != string(page) {
		t.Errorf("runner plugin describe prints another page (%v):\n%s", err, out)
	}
}

// describe asks the plugin of a source folder what it is. A plugin in Python may need what is not here; it is told, and
// its page is not looked into.
func describe(t *testing.T, source string, kind clip.Kind) (d clip.Descriptor, ok bool) {
	t.Helper()
	cmd := exec.Command(filepath.Join(filepath.Dir(runner), "plugins", kind.Dir(), filepath.Base(source)), "--describe")
	script := filepath.Join(source, "plugin.py")
	if exists(script) {
		python := "python3"
		if named := os.Getenv("TANDEM_PYTHON"); named != "" {
			python = named
		}
		cmd = exec.Command(python, script, "--describe")
		cmd.Env = append(os.Environ(), "PYTHONPATH=../../core/plugin/sdk/python", "PYTHONDONTWRITEBYTECODE=1")
	}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &d)
	}
	if err != nil && exists(script) {
		t.Logf("%s cannot be asked with %s, so that its page is not compared: %v", source, cmd.Path, err)
		return clip.Descriptor{Kind: kind, Name: filepath.Base(source)}, false
	}
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return d, true
}
