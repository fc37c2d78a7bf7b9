package assemble

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
	"tandem/core/plugin/catalog"
)

// A spec's interpreter describes the plugins of that spec alone.
func TestTheInterpreterOfASpecRunsItsPlugins(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	python := func(name string) string {
		return write(name, "#!/bin/sh\necho '{\"kind\": \"loss\", \"name\": \"py\", \"version\": \""+name+"\", \"protocol\": 2}'\n", 0o755)
	}
	script := write("py.py", "print()\n", 0o644)
	c := NewCatalog(&catalog.Catalog{Python: python("usual")})
	for _, want := range []struct {
		catalog spec.Catalog
		version string
	}{{c, "usual"}, {c.WithPython(python("other")), "other"}, {c, "usual"}} {
		if d, err := want.catalog.Describe(clip.KindLoss, script); err != nil || d.Version != want.version {
			t.Errorf("described by %q, %v; want %q", d.Version, err, want.version)
		}
	}
}
