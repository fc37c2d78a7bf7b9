package assemble

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/spec"
)

// The content of a published model that an encoder begins with is part of the identity: weights, sizes and tokenizer.
func TestAPublishedModelIsPartOfTheIdentity(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)) }
	write("config.json", "{}")
	write("README.md", "hello")
	file(t, folder, "model.safetensors", nil, map[string][]int{"a": {2}})
	s := &spec.Spec{}
	s.Text.With = json.RawMessage(fmt.Sprintf(`{"folder": %q, "pool": "mean"}`, folder))
	d := clip.Descriptor{Capabilities: []string{clip.CapPretrained}, Schema: []clip.Field{{Name: "folder", Type: clip.TypePath}, {Name: "pool", Type: clip.TypeString}}}
	identity := func(d clip.Descriptor) string {
		t.Helper()
		id, err := new(Identifier).Identity(s, Plugins{{Role: RoleText, Descriptor: d}})
		must(t, err)
		return id
	}
	seen := map[string]string{identity(d): "the first"}
	for _, change := range []func(){
		func() { write("config.json", `{"a": 1}`) },
		func() { write("tokenizer.json", "{}") },
		func() { file(t, folder, "model.safetensors", nil, map[string][]int{"a": {3}}) },
	} {
		change()
		id := identity(d)
		if before, ok := seen[id]; ok {
			t.Errorf("identity %.8s of %s again", id, before)
		}
		seen[id] = "a change"
	}
	before := identity(d)
	if write("README.md", "other"); identity(d) != before {
		t.Error("a file that does not count changes the identity")
	}
	d.Capabilities = nil
	plain := identity(d)
	if write("config.json", "{}"); identity(d) != plain || plain == before {
		t.Error("a folder of another encoder counts by its path alone")
	}
}
