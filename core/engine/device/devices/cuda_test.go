//go:build clipcuda

package devices

import (
	"os"
	"strings"
	"testing"
)

func TestAGPUIsListedWithItsLibraries(t *testing.T) {
	var found int
	for _, info := range Inspect() {
		if info.GPU == nil {
			continue
		}
		found++
		g := *info.GPU
		if info.Available && (g.BLAS == "" || g.FreeMemory <= 0 || g.FreeMemory > g.TotalMemory || !strings.Contains(g.Driver, "CUDA ")) {
			t.Errorf("%s: %+v", info.Name, g)
		}
		if !info.Available && info.Hint == "" {
			t.Errorf("%s names no remedy: %s", info.Name, info.Detail)
		}
		if listed := List()[2+found-1]; listed.Name != info.Name || listed.GPU.FreeMemory != 0 {
			t.Errorf("List has looked into %+v", listed)
		}
	}
	if found == 0 && os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("neither a GPU nor the test double (make test-cuda)")
	}
	if found == 0 {
		t.Error("the double is not listed")
	}
}

func TestABinaryWithCUDASaysWhyThereIsNoGPU(t *testing.T) {
	gpus, err := cuda.gpus()
	if err == nil {
		t.Skipf("this machine has %d", len(gpus))
	}
	for _, info := range Inspect() {
		if strings.HasPrefix(info.Name, "cuda") && (info.Available || info.Detail != err.Error() || info.Hint == "") {
			t.Errorf("got %+v for %v", info, err)
		}
	}
	b, err := Open("cpu", 1)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}
