package sweep

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/spec"
)

var update = flag.Bool("update", false, "rewrite the wanted outputs of testdata")

// catalog is a spec.Catalog of descriptors.
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

func plugins(t testing.TB) catalog {
	t.Helper()
	data, err := os.ReadFile("../spec/testdata/catalog.json")
	var c catalog
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// identify stands for the plugins' checksums, which are the same throughout.
func identify(s *spec.Spec) (string, error) { return s.Identity(nil), nil }

// plan is the sweep of the base spec with an ablate block.
func plan(t testing.TB, block string, set ...string) (*Sweep, error) {
	t.Helper()
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "in.yaml")
	if err := os.WriteFile(file, append(base, block...), 0o600); err != nil {
		t.Fatal(err)
	}
	return Plan(spec.Read(file, spec.Options{Catalog: plugins(t), Set: set}), identify)
}

func planned(t testing.TB, block string, set ...string) *Sweep {
	t.Helper()
	s, err := plan(t, block, set...)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return s
}

// table is what a golden file holds of a sweep.
func table(s *Sweep) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, %d trials\n", s.Design, s.Metric, len(s.Trials))
	if s.Stop != nil {
		fmt.Fprintf(&b, "%s by %s from %s on, eta %d, %d others\n", s.Stop.Rule, s.Stop.Metric, s.Stop.Grace, s.Stop.Eta, s.Stop.MinTrials)
	}
	for _, t := range s.Trials {
		if s.MayStop(t) {
			b.WriteString("may stop: ")
		}
		fmt.Fprintf(&b, "%s seed %d:", strings.Join(t.Variants(), " = "), t.Seed)
		for _, o := range t.Cells[0].Overrides {
			fmt.Fprintf(&b, " %s=%v", o.Path, o.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Each archive holds in.yaml, which may extend base.yaml, and want.err or want.txt.
func TestGolden(t *testing.T) {
	c := plugins(t)
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
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
			if err := os.WriteFile(filepath.Join(dir, "base.yaml"), base, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)
			name, got := "want.err", ""
			s, err := Plan(spec.Read("in.yaml", spec.Options{Catalog: c}), identify)
			if err != nil {
				got = fault.Format(err) + "\n"
			} else {
				name, got = "want.txt", table(s)
			}
			if bad := strings.HasPrefix(filepath.Base(file), "bad-"); bad != (err != nil) {
				t.Errorf("error is %v", err)
			}
			at := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want.") })
			if *update {
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
			if diff := cmp.Diff(string(bytes.TrimSpace(archive.Files[at].Data)), strings.TrimSpace(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		})
	}
}
