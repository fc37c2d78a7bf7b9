package spec

import (
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

var update = flag.Bool("update", false, "rewrite the wanted outputs of testdata")

// catalog is a Catalog of descriptors.
type catalog []clip.Descriptor

func (c catalog) Describe(kind clip.Kind, name string) (clip.Descriptor, error) {
	for _, d := range c {
		if d.Kind == kind && d.Name == name {
			return d, nil
		}
	}
	return clip.Descriptor{}, fault.New(fault.NotFound, "no such plugin")
}

func (c catalog) Names(kind clip.Kind) []string {
	var names []string
	for _, d := range c {
		if d.Kind == kind {
			names = append(names, d.Name)
		}
	}
	return names
}

func readCatalog(t *testing.T) catalog {
	t.Helper()
	data, err := os.ReadFile("testdata/catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	var c catalog
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each archive in testdata holds in.yaml, its base files and want.yaml or want.err; "env:" and
// "set:" lines of its comment are the other layers.
func TestGolden(t *testing.T) {
	plugins := readCatalog(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d archives (%v)", len(files), err)
	}
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := txtar.Write(archive, dir); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			opts := Options{Catalog: plugins}
			for line := range strings.Lines(string(archive.Comment)) {
				if v, ok := strings.CutPrefix(strings.TrimSpace(line), "env: "); ok {
					opts.Env = append(opts.Env, v)
				}
				if v, ok := strings.CutPrefix(strings.TrimSpace(line), "set: "); ok {
					opts.Set = append(opts.Set, v)
				}
			}
			name, got := "want.err", ""
			s, err := Load("in.yaml", opts)
			if err != nil {
				got = fault.Format(err) + "\n"
			} else {
				name = "want.yaml"
				got = s.YAML(true)
				again := filepath.Join(dir, "again.yaml")
				if err := os.WriteFile(again, []byte(s.YAML(false)), 0o600); err != nil {
					t.Fatal(err)
				}
				t2, err := Load(again, Options{Catalog: plugins})
				if err != nil {
					t.Fatalf("the resolved form does not load: %v", err)
				}
				if diff := cmp.Diff(string(s.JSON()), string(t2.JSON())); diff != "" {
					t.Errorf("the resolved form loads to something else: %s", diff)
				}
			}
			got = strings.ReplaceAll(got, dir, "$DIR")
			if bad := strings.HasPrefix(filepath.Base(file), "bad-"); bad != (err != nil) {
				t.Errorf("error is %v", err)
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want.") })
			if *update {
				want := txtar.File{Name: name, Data: []byte(got)}
				if at < 0 {
					archive.Files = append(archive.Files, want)
				} else {
					archive.Files[at] = want
				}
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
		})
	}
}
