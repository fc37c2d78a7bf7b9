package towertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/weights"
	"tandem/core/tensor"
)

// Rewrite gives every parameter and statistic of an encoder the values of a function, by saving and
// loading, and returns them by name.
func Rewrite(t *testing.T, e clip.Encoder, value func(name string, shape []int, i int) float32) map[string][]float32 {
	t.Helper()
	tensors, meta := read(t, e)
	return rewrite(t, e, tensors, meta, value)
}

// rewrite does what Rewrite does, with the encoder's saved state at hand.
func rewrite(t *testing.T, e clip.Encoder, saved []weights.Tensor, meta map[string]string,
	value func(name string, shape []int, i int) float32) map[string][]float32 {
	t.Helper()
	tensors := slices.Clone(saved)
	values := map[string][]float32{}
	for i, w := range tensors {
		if w.DType != weights.F32 || strings.HasPrefix(w.Name, "optim.") {
			continue
		}
		v := make([]float32, tensor.Shape(w.Shape).Elements())
		for k := range v {
			v[k] = value(w.Name, w.Shape, k)
		}
		tensors[i] = weights.FromF32(w.Name, v, w.Shape...)
		values[w.Name] = v
	}
	path := filepath.Join(t.TempDir(), "rewritten.safetensors")
	if err := weights.Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	return values
}

// Values returns the encoder's parameters, statistics and optimiser state by name.
func Values(t *testing.T, e clip.Encoder) map[string][]float32 {
	t.Helper()
	tensors, _ := read(t, e)
	values := map[string][]float32{}
	for _, w := range tensors {
		if v, err := w.F32(); err == nil {
			values[w.Name] = v
		}
	}
	return values
}

// saved saves an encoder and opens the file, until the test ends.
func saved(t *testing.T, e clip.Encoder) *weights.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.safetensors")
	if err := e.Save(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// read saves an encoder and reads the file.
func read(t *testing.T, e clip.Encoder) ([]weights.Tensor, map[string]string) {
	t.Helper()
	f := saved(t, e)
	defer f.Close()
	var tensors []weights.Tensor
	for _, name := range f.Names() {
		w, err := f.Read(name)
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		tensors = append(tensors, w)
	}
	return tensors, f.Metadata()
}
