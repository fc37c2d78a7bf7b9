package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
)

// A script is all code in its folder, or the files and versions that its descriptor names.
func TestAScriptIsWhatItConsistsOf(t *testing.T) {
	dir := t.TempDir()
	script := func(more string) {
		t.Helper()
		text := "#!/bin/sh\necho '{\"kind\": \"loss\", \"name\": \"s\", \"version\": \"1\", \"protocol\": 1" + more + "}'\n"
		if err := os.WriteFile(filepath.Join(dir, "s"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string {
		t.Helper()
		_, b, err := (&catalog.Catalog{CacheDir: filepath.Join(dir, ".cache")}).Describe(clip.KindLoss, filepath.Join(dir, "s"))
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		return b.SHA256
	}
	script("")
	file("helper.py", "1")
	file("package/part.py", "1")
	last := digest()
	for _, name := range []string{"helper.py", "package/part.py", "new.py"} {
		file(name, "2")
		if now := digest(); now == last {
			t.Errorf("a change of %s is none of the plugin", name)
		} else {
			last = now
		}
	}
	for _, name := range []string{"results/spec.yaml", "notes.txt", "__pycache__/x.py", ".hidden/x.py"} {
		file(name, "2")
		if digest() != last {
			t.Errorf("a change of %s is one of the plugin", name)
		}
	}
	script(`, "files": ["table.*"], "versions": {"numpy": "1"}`)
	file("table.txt", "1")
	last = digest()
	file("helper.py", "3")
	if digest() != last {
		t.Error("a file that the descriptor does not name counts")
	}
	file("table.txt", "2")
	if now := digest(); now == last {
		t.Error("a file that the descriptor names does not count")
	} else {
		last = now
	}
	script(`, "files": ["table.*"], "versions": {"numpy": "2"}`)
	if digest() == last {
		t.Error("a version that the descriptor names does not count")
	}
}

// What a program prints for a descriptor is read with a bound, and what lies in it is checked.
func TestDescriptorsAreBoundedAndChecked(t *testing.T) {
	dir := t.TempDir()
	for want, body := range map[string]string{
		"printed more than 4.0 MiB":    "yes AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"it has -5 samples":            `echo '{"kind": "loss", "name": "x", "protocol": 1, "sizes": [{"n": -5}]}'`,
		"is no word":                   `echo '{"kind": "loss", "name": "a b/../c", "protocol": 1}'`,
		"has the unknown type":         `echo '{"kind": "loss", "name": "x", "protocol": 1, "schema": [{"name": "o", "type": "complex"}]}'`,
		"no kind or name":              `echo '{"kind": "sofa", "name": "x"}'`,
		"is no name, or is there twic": `echo '{"kind": "loss", "name": "x", "protocol": 1, "schema": [{"name": "o", "type": "int"}, {"name": "o", "type": "int"}]}'`,
	} {
		path := filepath.Join(dir, "p")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, _, err := (&catalog.Catalog{}).Describe(clip.KindLoss, path)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
