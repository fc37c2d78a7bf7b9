package trial_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/conformance"
	"tandem/core/plugin/process"
	"tandem/core/plugin/sdk"
	"tandem/core/plugin/trial"
)

// The test binary is its own plugins: under the name that a plugin has, it serves.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case faultyEncoder.Name:
		sdk.ServeEncoder(faultyEncoder)
	case faultyLoss.Name:
		sdk.ServeLoss(faultyLoss)
	case everything.Name:
		sdk.ServeLoss(everything)
	case faultyDataset.Name:
		sdk.ServeDataset(faultyDataset)
	}
	os.Exit(m.Run())
}

// planted lists the kinds of plugin with the faults that can be planted in each.
var planted = []struct {
	kind   clip.Kind
	name   string
	faults map[string]string
}{
	{clip.KindEncoder, faultyEncoder.Name, encoderFaults},
	{clip.KindLoss, faultyLoss.Name, lossFaults},
	{clip.KindDataset, faultyDataset.Name, datasetFaults},
}

func TestEveryPlantedFaultInGoIsFound(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &catalog.Catalog{Roots: []string{root}} // without a cache, which knows programs by their content
	for _, p := range planted {
		path := filepath.Join(root, p.kind.Dir(), p.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, path); err != nil {
			t.Fatal(err)
		}
	}
	findsFaults(t, c, func(kind clip.Kind, name string) string { return name })
}

// A plugin that is built anew while it is tried is not blamed for the rules that follow.
func TestAPluginThatChangesEndsTheTrial(t *testing.T) {
	path := filepath.Join(t.TempDir(), faultyLoss.Name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	c := &catalog.Catalog{}
	d, b, err := c.Describe(clip.KindLoss, path)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	next := path + ".new"
	if err := os.WriteFile(next, append(code, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := trial.Run(t.Context(), trial.Options{Catalog: c, Descriptor: d, Binary: b, Observe: func(conformance.Finding) { _ = os.Rename(next, path) }})
	if !errors.Is(err, process.ErrChanged) || len(r.Rules) == 0 || r.Failed > 0 {
		t.Errorf("%v, with %+v", err, r.Rules)
	}
}

// findsFaults checks that the kit finds every fault of three plugins by its rule, and nothing in the same plugins
// without a fault.
func findsFaults(t *testing.T, c *catalog.Catalog, ref func(clip.Kind, string) string) {
	t.Helper()
	for _, p := range planted {
		d, b, err := c.Describe(p.kind, ref(p.kind, p.name))
		if err != nil {
			t.Fatal(fault.Format(err))
		}
		t.Run(string(p.kind), func(t *testing.T) {
			t.Run("without a fault", func(t *testing.T) {
				t.Parallel()
				r := try(t, trial.Options{Catalog: c, Descriptor: d, Binary: b})
				for _, rule := range r.Rules {
					if rule.Outcome == trial.Failed {
						t.Errorf("%s: %s", rule.Rule, rule.Why)
					}
				}
			})
			for name, rule := range p.faults {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					with, err := json.Marshal(map[string]string{"fault": name})
					if err != nil {
						t.Fatal(err)
					}
					o := trial.Options{Catalog: c, Descriptor: d, Binary: b, With: with, Only: []string{rule}}
					if name == "any option" { // the kit sends options of its own
						o.Env = []string{"TANDEM_FAULT=any option"}
					}
					r := try(t, o)
					found := false
					for _, result := range r.Rules {
						if result.Outcome == trial.Failed && result.Rule != rule {
							t.Errorf("the rule %q is broken, want %q: %s", result.Rule, rule, result.Why)
						}
						found = found || result.Outcome == trial.Failed
					}
					if !found {
						t.Errorf("no rule is broken, want %q", rule)
					}
				})
			}
		})
	}
}

func try(t *testing.T, o trial.Options) trial.Report {
	t.Helper()
	r, err := trial.Run(t.Context(), o)
	if err != nil {
		t.Fatal(fault.Format(err))
	}
	return r
}
