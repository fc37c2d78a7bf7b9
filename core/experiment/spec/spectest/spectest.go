// Package spectest holds what the tests of specs and of sweeps share: plugins that are descriptors alone, and
// golden files.
package spectest

import (
	_ "embed"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"tandem/core/clip"
	"tandem/core/fault"
)

// Update holds the flag -update of a test: write what is wanted instead of comparing with it.
var Update = flag.Bool("update", false, "rewrite the wanted outputs of testdata")

// Catalog implements spec.Catalog with descriptors alone.
type Catalog []clip.Descriptor

//go:embed catalog.json
var catalog []byte

// Plugins returns the plugins that the specs of tests name.
func Plugins(t testing.TB) Catalog {
	t.Helper()
	var c Catalog
	if err := json.Unmarshal(catalog, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Describe implements spec.Catalog.
func (c Catalog) Describe(kind clip.Kind, name string) (clip.Descriptor, error) {
	for _, d := range c {
		if d.Kind == kind && d.Name == name {
			return d, nil
		}
	}
	return clip.Descriptor{}, fault.New(fault.NotFound, "no such plugin")
}

// Names implements spec.Catalog.
func (c Catalog) Names(kind clip.Kind) []string {
	var names []string
	for _, d := range c {
		if d.Kind == kind {
			names = append(names, d.Name)
		}
	}
	return names
}

// Golden runs the archives of testdata, each in a folder of its own that holds its files. read gives the text
// that the archive's file of the name want holds; when it fails, want.err holds the error, which every archive
// called bad-… and no other has. comment is what the archive begins with.
func Golden(t *testing.T, want string, read func(t *testing.T, comment string) (string, error)) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d archives (%v)", len(files), err)
	}
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file, want, read) })
	}
}

func golden(t *testing.T, file, name string, read func(*testing.T, string) (string, error)) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(archive, dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	got, err := read(t, string(archive.Comment))
	if err != nil {
		name, got = "want.err", fault.Format(err)+"\n"
	}
	got = strings.ReplaceAll(got, dir, "$DIR")
	if bad := strings.HasPrefix(filepath.Base(file), "bad-"); bad != (err != nil) {
		t.Errorf("error is %v", err)
	}
	at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want.") })
	if *Update {
		if at < 0 {
			at = len(archive.Files)
			archive.Files = append(archive.Files, txtar.File{})
		}
		archive.Files[at] = txtar.File{Name: name, Data: []byte(got)}
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if at < 0 || archive.Files[at].Name != name {
		t.Fatalf("want no %s, got\n%s", name, got)
	}
	if diff := cmp.Diff(string(archive.Files[at].Data), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
