package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem/core/experiment/spec/spectest"
)

// Each archive in testdata holds in.yaml, its base files and want.yaml or want.err; "env:" and
// "set:" lines of its comment are the other layers.
func TestGolden(t *testing.T) {
	plugins := spectest.Plugins(t)
	spectest.Golden(t, "want.yaml", func(t *testing.T, comment string) (string, error) {
		opts := Options{Catalog: plugins}
		for line := range strings.Lines(comment) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "env: "); ok {
				opts.Env = append(opts.Env, v)
			}
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "set: "); ok {
				opts.Set = append(opts.Set, v)
			}
		}
		s, err := Load("in.yaml", opts)
		if err != nil {
			return "", err
		}
		again := filepath.Join(t.TempDir(), "again.yaml")
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
		return s.YAML(true), nil
	})
}
