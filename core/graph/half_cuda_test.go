//go:build onednn && clipcuda

package graph

import (
	"os"
	"slices"
	"testing"

	"tandem/core/device/cuda"
	"tandem/core/fault"
)

func TestValuesKeptAsBF16GiveTheSameBitsOnAGPU(t *testing.T) {
	b, err := cuda.Open(0, cuda.Options{})
	if fault.KindOf(err) == fault.Unavailable && os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skipf("neither a GPU nor the test double (make test-cuda): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, m := range halfModels {
		if m.halves == nil {
			continue
		}
		for _, checkpointing := range []bool{false, true} {
			got, half := m.step(t, b, CompileOptions{}, checkpointing, true)
			want, _ := m.step(t, b, CompileOptions{NoHalf: true}, checkpointing, true)
			if !slices.Equal(got, want) {
				t.Errorf("%s, checkpointing %v: the results are other bits", name, checkpointing)
			}
			if names := halved(half); !slices.Contains(names, "layer_norm") || !slices.Contains(names, "linear") {
				t.Errorf("%s: only %v are kept as bfloat16", name, names)
			}
		}
	}
}
