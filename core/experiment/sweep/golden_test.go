package sweep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/experiment/spec"
	"tandem/core/experiment/spec/spectest"
	"tandem/core/fault"
)

// identify stands for the plugins' checksums, which are the same throughout.
func identify(s *spec.Spec) (string, error) { return s.Identity(nil), nil }

// plan returns the sweep of the base spec with an ablate block.
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
	return Plan(spec.Read(file, spec.Options{Catalog: spectest.Plugins(t), Set: set}), identify)
}

func planned(t testing.TB, block string, set ...string) *Sweep {
	t.Helper()
	s, err := plan(t, block, set...)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return s
}

// table writes what a golden file holds of a sweep.
func table(s *Sweep) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, %d trials\n", s.Design, s.Metric, len(s.Trials))
	if s.Stop != nil {
		fmt.Fprintf(&b, "%s by %s from %s on, eta %d, %d others\n", s.Stop.Rule, s.Stop.Metric, s.Stop.Grace, s.Stop.Eta, s.Stop.MinTrials)
	}
	if s.Impossible > 0 {
		fmt.Fprintf(&b, "%d combinations left out\n", s.Impossible)
	}
	if s.Search != nil {
		tried, fresh := s.Search.Seeds()
		fmt.Fprintf(&b, "%d points, %g hours, seed %d, trials under %v, confirmed under %v\n", s.Search.Budget.Trials, s.Search.Budget.Hours, s.Search.Seed, tried, fresh)
		for _, f := range s.Search.Describe() {
			fmt.Fprintf(&b, "%s: %s from %s; %s\n", f.Name, f.Keys, f.Values, f.When)
		}
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
	c := spectest.Plugins(t)
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spectest.Golden(t, "want.txt", func(t *testing.T, _ string) (string, error) {
		if err := os.WriteFile("base.yaml", base, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Plan(spec.Read("in.yaml", spec.Options{Catalog: c}), identify)
		if err != nil {
			placed(t, err)
			return "", err
		}
		return table(s), nil
	})
}

// placed checks that every fault says where, of which field and what to do.
func placed(t *testing.T, err error) {
	var list fault.List
	if !errors.As(err, &list) {
		t.Fatalf("%v is no list of faults", err)
	}
	for _, e := range list {
		if e.File != "in.yaml" || e.Line == 0 || e.Column == 0 || e.Path == "" || e.Hint == "" {
			t.Errorf("%s lacks a place, a field or a hint", fault.Format(e))
		}
	}
}
