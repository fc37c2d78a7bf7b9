package trial_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/plugin/catalog"
)

// The plugins in Python have the faults of those in Go. They need grpcio and numpy.
func TestEveryPlantedFaultInPythonIsFound(t *testing.T) {
	python := ""
	for _, candidate := range []string{os.Getenv(catalog.EnvPython), "../../../.venv/python/bin/python", "python3"} {
		if path, err := exec.LookPath(candidate); err == nil && exec.Command(path, "-c", "import grpc, numpy, google.protobuf").Run() == nil {
			if python, err = filepath.Abs(path); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if python == "" {
		t.Skip("no Python has grpc and numpy: run make python, or set " + catalog.EnvPython)
	}
	if os.Getenv("TANDEM_LONG") == "" && os.Getenv("TANDEM_TEST_TORCH") == "" {
		t.Skip("make test-long and make test-python run it: several hundred starts of Python")
	}
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", sdk)
	findsFaults(t, &catalog.Catalog{Python: python, CacheDir: t.TempDir()}, func(_ clip.Kind, name string) string {
		path, err := filepath.Abs(filepath.Join("testdata/python", strings.ReplaceAll(name, "-", "_")+".py"))
		if err != nil {
			t.Fatal(err)
		}
		return path
	})
}
