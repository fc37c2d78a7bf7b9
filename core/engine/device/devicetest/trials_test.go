package devicetest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"
)

// TestTrialsCoverEveryKernel finds the kernels in the source of core/engine/device.
func TestTrialsCoverEveryKernel(t *testing.T) {
	tried := map[string]bool{"Halved": true} // Halves tries those
	for _, c := range Trials() {
		tried[reflect.TypeOf(c.Kernel).Name()] = true
	}
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	kernel := regexp.MustCompile(`(?m)^func \(\w+ (\w+)\) describe\(d \*describer\) \{`)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range kernel.FindAllSubmatch(source, -1) {
			found++
			if !tried[string(m[1])] {
				t.Errorf("%s has no trial", m[1])
			}
		}
	}
	if found != len(tried) {
		t.Errorf("found %d kernels in the source, the trials have %d", found, len(tried))
	}
}
