package trial_test

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
	"tandem/core/plugin/trial"
)

func TestBenchMeasuresEveryMethodInBothWays(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := map[clip.Kind][]string{clip.KindEncoder: {"Forward", "Backward", "GradNorm", "Step"}, clip.KindLoss: {"Compute", "GradNorm", "Step"},
		clip.KindDataset: {"Batch"}}
	for _, p := range planted {
		path := filepath.Join(t.TempDir(), p.name)
		if err := os.Symlink(self, path); err != nil {
			t.Fatal(err)
		}
		c := &catalog.Catalog{}
		d, b, err := c.Describe(p.kind, path)
		if err != nil {
			t.Fatal(err)
		}
		costs, err := trial.Bench(t.Context(), trial.Options{Catalog: c, Descriptor: d, Binary: b}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(costs.Methods) != 2*len(want[p.kind]) {
			t.Fatalf("%s: %+v", p.name, costs.Methods)
		}
		for i, m := range costs.Methods {
			if m.Method != want[p.kind][i%len(want[p.kind])] || m.Calls < 3 || m.Seconds < m.Overhead || m.SharedMemory != (i < len(want[p.kind])) {
				t.Errorf("%s: method %d is %+v", p.name, i, m)
			}
		}
	}
}
