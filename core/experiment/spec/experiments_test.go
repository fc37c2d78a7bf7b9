package spec

import (
	"path/filepath"
	"testing"

	"tandem/core/fault"
)

// So are the shipped suites.
func TestSuites(t *testing.T) {
	files, err := filepath.Glob("../../../experiments/suites/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d suites (%v)", len(files), err)
	}
	for _, file := range files {
		s, err := LoadSuite(file, Options{})
		if err != nil {
			t.Error(fault.Format(err))
			continue
		}
		if s.Name+".yaml" != filepath.Base(file) || s.Description == "" || len(s.Eval) < 2 {
			t.Errorf("%s is called %q (%q), with %d evaluations", file, s.Name, s.Description, len(s.Eval))
		}
	}
}

// The shipped experiments are well-formed; their plugins' settings are checked by the runner's tests,
// which have the plugins.
func TestExperiments(t *testing.T) {
	files, err := filepath.Glob("../../../experiments/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d experiments (%v)", len(files), err)
	}
	for _, file := range files {
		s, err := Load(file, Options{})
		if err != nil {
			t.Error(fault.Format(err))
			continue
		}
		if s.Name+".yaml" != filepath.Base(file) || s.Description == "" {
			t.Errorf("%s is called %q (%q)", file, s.Name, s.Description)
		}
	}
}
